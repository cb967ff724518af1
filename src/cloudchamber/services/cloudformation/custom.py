# SPDX-License-Identifier: Apache-2.0
"""Custom resources: a Lambda function of the user's own creates, updates and deletes them.

Source: AWS CloudFormation User Guide, "Create custom provisioning logic with custom resources", "Custom resource
request types", "AWS::CloudFormation::CustomResource".
"""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from cloudchamber.base.arn import Arn
from cloudchamber.base.errors import ServiceError, ValidationError
from cloudchamber.contract.resource import Made, Property, ResourceType
from cloudchamber.services.cloudformation.answers import NoAnswer
from cloudchamber.services.cloudformation.kinds import is_list, is_map

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.resource import Agent, Properties
    from cloudchamber.services.cloudformation.agent import StackAgent

CUSTOM_RESOURCE = "AWS::CloudFormation::CustomResource"
_NAME = re.compile(r"Custom::[A-Za-z0-9_@-]{1,60}")
_TIMEOUT_MAX_S = 3600
_ID_MAX = 1024
_LATE_S = 60.0
"""How long a deletion waits for the answer to a creation that was interrupted, to know what to delete."""


def is_custom(name: str) -> bool:
    """Whether a type is one of custom resources."""
    return name == CUSTOM_RESOURCE or _NAME.fullmatch(name) is not None


def custom_type(name: str) -> ResourceType:
    """The type of custom resources under one of its names: any properties, any attributes."""
    shape = {"ServiceToken": Property(required=True), "ServiceTimeout": Property()}
    create, delete, update = partial(_create, name), partial(_delete, name), partial(_update, name)
    return ResourceType(name, shape, create, delete, update, check=_check, open=True)


def _check(properties: Properties) -> None:
    _token(properties)
    _within_s(properties)


def _token(properties: Properties) -> str:
    token = properties.get("ServiceToken")
    try:
        arn = Arn.parse(token) if isinstance(token, str) else None
    except ValueError:
        arn = None
    if arn is not None and arn.service == "lambda" and arn.resource.startswith("function:"):
        return str(token)
    if arn is not None and arn.service == "sns":
        raise ValidationError("A ServiceToken of Amazon SNS is not supported here; a Lambda function is")
    raise ValidationError("Invalid service token.")


def _within_s(properties: Properties) -> int:
    given: Any = properties.get("ServiceTimeout", _TIMEOUT_MAX_S)
    try:
        seconds = int(given)
    except (TypeError, ValueError):
        seconds = 0
    if isinstance(given, bool) or not 1 <= seconds <= _TIMEOUT_MAX_S:
        raise ValidationError(f"ServiceTimeout must be a whole number from 1 to {_TIMEOUT_MAX_S}")
    return seconds


async def _create(name: str, agent: Agent, properties: Properties) -> Made:
    mine = agent.name(255)
    try:
        answer = await _exchange(name, agent, "Create", properties, {})
    except _Unanswered:
        agent.begun(mine)  # the function may have made something all the same: the rollback tells it to delete
        raise
    given = _text(answer.get("PhysicalResourceId"))
    if answer["Status"] == "FAILED":
        agent.begun(given if 0 < len(given) <= _ID_MAX else mine)
        raise _failure(answer)
    try:
        return _made(answer)
    except ValidationError:
        agent.begun(given[:_ID_MAX] or mine)
        raise


async def _update(name: str, agent: Agent, physical_id: str, before: Properties, after: Properties) -> Made:
    more = {"PhysicalResourceId": physical_id, "OldResourceProperties": _strings(before)}
    answer = await _exchange(name, agent, "Update", after, more)
    if answer["Status"] == "FAILED":
        raise _failure(answer)
    return _made(answer)


async def _delete(name: str, agent: Agent, physical_id: str, properties: Properties) -> None:
    answers = cast("StackAgent", agent).answers
    if left := answers.open_creation(agent.stack_id, agent.logical_id):
        # Why: the chamber ended, or the stack was given up, while the function was at work; it knows what it made.
        try:
            late = await answers.wait(left, _LATE_S)
        except NoAnswer:
            late = {}
        physical_id = _text(late.get("PhysicalResourceId"))[:_ID_MAX] or physical_id
    answer = await _exchange(name, agent, "Delete", properties, {"PhysicalResourceId": physical_id})
    if answer["Status"] == "FAILED":
        raise _failure(answer)


class _Unanswered(ServiceError):  # noqa: N818 - what happened
    """The function was asked, and did not answer, or with what is no answer."""

    code = "NotStabilized"
    status = 400


async def _exchange(
    name: str, agent: Agent, kind: str, properties: Properties, more: Mapping[str, Any]
) -> dict[str, Any]:
    """Ask the function, and wait for its answer.

    Raises:
        ValidationError: the token or the timeout is wrong.
        _Unanswered: the function did not answer, or what it answered is no answer.
        ServiceError: the function cannot be asked.
    """
    token, within_s = _token(properties), _within_s(properties)
    answers = cast("StackAgent", agent).answers
    request_id, url = await answers.expect(agent.stack_id, agent.logical_id, kind, within_s)
    event = {
        "RequestType": kind,
        "ServiceToken": token,
        "ResponseURL": url,
        "StackId": agent.stack_id,
        "RequestId": request_id,
        "LogicalResourceId": agent.logical_id,
        "ResourceType": name,
        "ResourceProperties": _strings(properties),
        **more,
    }
    payload = json.dumps(event, separators=(",", ":")).encode()
    try:
        await agent.ask("lambda", "Invoke", {"FunctionName": token, "InvocationType": "Event", "Payload": payload})
    except ServiceError:
        await answers.forget(request_id)
        raise
    try:
        answer = await answers.wait(request_id, within_s)
    except NoAnswer as none:
        raise _Unanswered(_silence(request_id, str(none))) from none
    _check_answer(answer, event)
    return answer


def _silence(request_id: str, failure: str) -> str:
    if failure:
        return f"The function failed on every try, without an answer to requestId [{request_id}]: {_why(failure)}"
    return (
        "CloudFormation did not receive a response from your Custom Resource. Please check your logs for requestId "
        f"[{request_id}]. If you are using the Python cfn-response module, you may need to update your Lambda function "
        "code so that CloudFormation can attach the updated version."
    )


def _why(failure: str) -> str:
    """A function's error without its stack trace."""
    try:
        error = json.loads(failure)
        said = f"{error['errorType']}: {error['errorMessage']}"
    except (ValueError, KeyError, TypeError):
        said = failure
    return said[:800]


def _check_answer(answer: Mapping[str, Any], event: Mapping[str, Any]) -> None:
    if answer.get("TooLong") is True and "Status" not in answer:
        raise _Unanswered("Response object is too long.")
    for name in ("StackId", "RequestId", "LogicalResourceId"):
        if answer.get(name) != event[name]:
            raise _Unanswered(f"Invalid response object: {name} is missing, or is not that of the request")
    if answer.get("Status") not in ("SUCCESS", "FAILED"):
        raise _Unanswered("Invalid response object: Status must be SUCCESS or FAILED")


def _made(answer: Mapping[str, Any]) -> Made:
    physical_id = _text(answer.get("PhysicalResourceId"))
    data: Any = answer.get("Data") or {}
    if not 0 < len(physical_id) <= _ID_MAX:
        raise ValidationError("Invalid PhysicalResourceId")
    if not is_map(data):
        raise ValidationError("Invalid response: Data must be an object")
    return Made(physical_id, data, masked=_text(answer.get("NoEcho")).lower() == "true")


def _failure(answer: Mapping[str, Any]) -> ServiceError:
    return ValidationError(
        "Received response status [FAILED] from custom resource. Message returned: "
        f"{_text(answer.get('Reason'))[:1200]} (RequestId: {answer['RequestId']})"
    )


def _strings(value: Any) -> Any:
    """Properties as functions get them: every scalar is text."""
    if is_map(value):
        return {key: _strings(item) for key, item in value.items()}
    if is_list(value):
        return [_strings(item) for item in value]
    return _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
