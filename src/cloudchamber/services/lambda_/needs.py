# SPDX-License-Identifier: Apache-2.0
"""Which permissions each operation needs. Pure.

Source: Service Authorization Reference, actions, resources, and condition keys for AWS Lambda.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from cloudchamber.base.arn import Arn
from cloudchamber.contract.operation import Need
from cloudchamber.services.lambda_ import tables
from cloudchamber.services.lambda_.names import try_layer, try_resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.contract.operation import ContextValue
    from cloudchamber.store.database import Reader

    Needs = Callable[[Call, Mapping[str, Any]], Iterable[Need]]


def _arn(call: Call, request: Mapping[str, Any]) -> str:
    qualifier = str(request.get("Qualifier") or "")
    return try_resolve(str(request.get("FunctionName", "")), call.account, call.region, qualifier)


def on_function(action: str) -> Needs:
    """The action on the function that the request names."""

    def needs(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
        return (Need(action, _arn(call, request)),)

    return needs


def on_alias(action: str) -> Needs:
    """The action on the function of the alias that the request names."""
    return on_function(action)


def on_url(action: str) -> Needs:
    """The action on the function whose address the request names, with who may use it."""

    def needs(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
        arn = _arn(call, request)
        context: dict[str, ContextValue] = {"lambda:FunctionArn": arn}
        if "AuthType" in request:
            context["lambda:FunctionUrlAuthType"] = str(request["AuthType"])
        return (Need(action, arn, context),)

    return needs


def on_layer(action: str) -> Needs:
    """The action on the layer, or on the version of it, that the request names."""

    def needs(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
        number = str(request.get("VersionNumber", ""))
        named = str(request.get("Arn") or request.get("LayerName", ""))
        return (Need(action, try_layer(named, call.account, call.region, number)),)

    return needs


def on_anything(action: str) -> Needs:
    """An action that has no resource type."""

    def needs(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
        return (Need(action, "*"),)

    return needs


def _pass_role(request: Mapping[str, Any], arn: str) -> Iterator[Need]:
    role = str(request.get("Role", ""))
    if role:
        context: dict[str, ContextValue] = {
            "iam:PassedToService": "lambda.amazonaws.com",
            "iam:AssociatedResourceArn": arn,
        }
        yield Need("iam:PassRole", role, context)


def _configured(request: Mapping[str, Any]) -> dict[str, ContextValue]:
    """Condition keys of a function's configuration."""
    context: dict[str, ContextValue] = {}
    if request.get("Layers"):
        context["lambda:Layer"] = tuple(request["Layers"])
    if request.get("CodeSigningConfigArn"):
        context["lambda:CodeSigningConfigArn"] = str(request["CodeSigningConfigArn"])
    network: Mapping[str, Any] = request.get("VpcConfig") or {}
    for member in ("SubnetIds", "SecurityGroupIds"):
        if network.get(member):
            context[f"lambda:{member}"] = tuple(network[member])
    return context


def _layers(request: Mapping[str, Any]) -> Iterator[Need]:
    """GetLayerVersion on each layer. Source: AWS Lambda Developer Guide, "Controlling access to layer versions"."""
    for layer in request.get("Layers") or ():
        yield Need("lambda:GetLayerVersion", str(layer))


def create_function(call: Call, request: Mapping[str, Any]) -> Iterator[Need]:
    """CreateFunction, PassRole, and TagResource where tags are given."""
    arn = _arn(call, request)
    tags: Mapping[str, str] = request.get("Tags", {})
    context: dict[str, ContextValue] = {f"aws:RequestTag/{key}": value for key, value in tags.items()}
    if tags:
        context["aws:TagKeys"] = tuple(tags)
    yield Need("lambda:CreateFunction", arn, {**context, **_configured(request)})
    if tags:
        yield Need("lambda:TagResource", arn, context)
    yield from _layers(request)
    yield from _pass_role(request, arn)


def update_configuration(call: Call, request: Mapping[str, Any]) -> Iterator[Need]:
    """UpdateFunctionConfiguration, and PassRole where a role is given."""
    arn = _arn(call, request)
    yield Need("lambda:UpdateFunctionConfiguration", arn, _configured(request))
    yield from _layers(request)
    yield from _pass_role(request, arn)


def add_permission(call: Call, request: Mapping[str, Any]) -> Iterator[Need]:
    """AddPermission, with whom it is for."""
    context: dict[str, ContextValue] = {"lambda:Principal": str(request.get("Principal", ""))}
    if "FunctionUrlAuthType" in request:
        context["lambda:FunctionUrlAuthType"] = str(request["FunctionUrlAuthType"])
    yield Need("lambda:AddPermission", _arn(call, request), context)


def remove_permission(call: Call, request: Mapping[str, Any]) -> Iterator[Need]:
    """RemovePermission, with whom the statement that goes is for: looked up only if a policy asks."""
    arn = _arn(call, request)

    def look() -> Mapping[str, ContextValue]:
        plain, qualifier = ":".join(arn.split(":")[:7]), ":".join(arn.split(":")[7:])

        def read(db: Reader) -> tuple[Mapping[str, Any], ...]:
            return tables.settings(db, plain, qualifier).statements if tables.find(db, plain) is not None else ()

        for statement in call.doors.database.read(read):
            if statement["Sid"] == request.get("StatementId"):
                return _of_statement(statement)
        return {}

    yield Need("lambda:RemovePermission", arn, {}, ("lambda:", look))


def _of_statement(statement: Mapping[str, Any]) -> dict[str, ContextValue]:
    named: Any = statement["Principal"]
    context: dict[str, ContextValue] = {
        "lambda:Principal": str(
            next(iter(cast("dict[str, Any]", named).values())) if isinstance(named, dict) else named
        )
    }
    auth = statement.get("Condition", {}).get("StringEquals", {}).get("lambda:FunctionUrlAuthType")
    return {**context, "lambda:FunctionUrlAuthType": str(auth)} if auth else context


def _tagged(call: Call, request: Mapping[str, Any]) -> str:
    """The resource whose tags are meant: an ARN, checked by the operation itself."""
    text = str(request.get("Resource", ""))
    try:
        Arn.parse(text)
    except ValueError:
        return try_resolve(text, call.account, call.region)
    return text


def tag_resource(call: Call, request: Mapping[str, Any]) -> Iterator[Need]:
    """TagResource, with the tags."""
    tags: Mapping[str, str] = request.get("Tags", {})
    context: dict[str, ContextValue] = {f"aws:RequestTag/{key}": value for key, value in tags.items()}
    context["aws:TagKeys"] = tuple(tags)
    yield Need("lambda:TagResource", _tagged(call, request), context)


def untag_resource(call: Call, request: Mapping[str, Any]) -> Iterator[Need]:
    """UntagResource, with the keys."""
    yield Need("lambda:UntagResource", _tagged(call, request), {"aws:TagKeys": tuple(request.get("TagKeys", ()))})


def list_tags(call: Call, request: Mapping[str, Any]) -> Iterator[Need]:
    """ListTags."""
    yield Need("lambda:ListTags", _tagged(call, request))
