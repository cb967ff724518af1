# SPDX-License-Identifier: Apache-2.0
"""CloudFormation's AWS::IAM::OIDCProvider, SAMLProvider, ServiceLinkedRole and ServerCertificate.

Source: AWS CloudFormation Template Reference, AWS::IAM.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.contract.resource import Made, Property, ResourceType
from cloudchamber.services.iam.errors import NoSuchEntity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.resource import Agent, Properties

_TAGS = Property(shape={"Key": Property(required=True), "Value": Property(required=True)})


def _tags(agent: Agent, properties: Properties) -> list[dict[str, str]]:
    """A resource's tags, the stack's own included; those that begin with ``aws:`` no client may set."""
    found = {key: value for key, value in agent.stack_tags.items() if not key.startswith("aws:")}
    found |= {str(tag["Key"]): str(tag["Value"]) for tag in properties.get("Tags", ())}
    return [{"Key": key, "Value": value} for key, value in found.items()]


async def _gone(agent: Agent, operation: str, request: Mapping[str, Any]) -> None:
    try:
        await agent.ask("iam", operation, request)
    except NoSuchEntity:
        return


async def _retag(agent: Agent, kind: str, who: Mapping[str, Any], old: Properties, new: Properties) -> None:
    now = _tags(agent, new)
    kept = {tag["Key"] for tag in now}
    dropped = [str(tag["Key"]) for tag in old.get("Tags", ()) if str(tag["Key"]) not in kept]
    if dropped:
        await agent.ask("iam", f"Untag{kind}", {**who, "TagKeys": dropped})
    if now:
        await agent.ask("iam", f"Tag{kind}", {**who, "Tags": now})


async def _create_oidc(agent: Agent, properties: Properties) -> Made:
    request: dict[str, Any] = {"Url": properties["Url"], "Tags": _tags(agent, properties)}
    request["ClientIDList"] = [str(one) for one in properties.get("ClientIdList", ())]
    request["ThumbprintList"] = [str(one) for one in properties.get("ThumbprintList", ())]
    arn = (await agent.ask("iam", "CreateOpenIDConnectProvider", request))["OpenIDConnectProviderArn"]
    return Made(arn, {"Arn": arn})


async def _update_oidc(agent: Agent, physical_id: str, old: Properties, new: Properties) -> Made:
    who = {"OpenIDConnectProviderArn": physical_id}
    before = [str(one) for one in old.get("ClientIdList", ())]
    after = [str(one) for one in new.get("ClientIdList", ())]
    for one in after:
        if one not in before:
            await agent.ask("iam", "AddClientIDToOpenIDConnectProvider", who | {"ClientID": one})
    for one in before:
        if one not in after:
            await agent.ask("iam", "RemoveClientIDFromOpenIDConnectProvider", who | {"ClientID": one})
    if old.get("ThumbprintList") != new.get("ThumbprintList"):
        thumbprints = [str(one) for one in new.get("ThumbprintList", ())]
        await agent.ask("iam", "UpdateOpenIDConnectProviderThumbprint", who | {"ThumbprintList": thumbprints})
    await _retag(agent, "OpenIDConnectProvider", who, old, new)
    return Made(physical_id, {"Arn": physical_id})


async def _delete_oidc(agent: Agent, physical_id: str, properties: Properties) -> None:
    await agent.ask("iam", "DeleteOpenIDConnectProvider", {"OpenIDConnectProviderArn": physical_id})


async def _create_saml(agent: Agent, properties: Properties) -> Made:
    request = {
        "Name": properties.get("Name") or agent.name(128),
        "SAMLMetadataDocument": properties["SamlMetadataDocument"],
        "Tags": _tags(agent, properties),
    }
    if "AssertionEncryptionMode" in properties:
        request["AssertionEncryptionMode"] = properties["AssertionEncryptionMode"]
    return await _saml(agent, (await agent.ask("iam", "CreateSAMLProvider", request))["SAMLProviderArn"])


async def _update_saml(agent: Agent, physical_id: str, old: Properties, new: Properties) -> Made:
    who = {"SAMLProviderArn": physical_id}
    request = who | {"SAMLMetadataDocument": new["SamlMetadataDocument"]}
    if "AssertionEncryptionMode" in new:
        request["AssertionEncryptionMode"] = new["AssertionEncryptionMode"]
    await agent.ask("iam", "UpdateSAMLProvider", request)
    await _retag(agent, "SAMLProvider", who, old, new)
    return await _saml(agent, physical_id)


async def _saml(agent: Agent, arn: str) -> Made:
    told = await agent.ask("iam", "GetSAMLProvider", {"SAMLProviderArn": arn})
    return Made(arn, {"Arn": arn, "SamlProviderUUID": told["SAMLProviderUUID"]})


async def _delete_saml(agent: Agent, physical_id: str, properties: Properties) -> None:
    await _gone(agent, "DeleteSAMLProvider", {"SAMLProviderArn": physical_id})


async def _create_linked(agent: Agent, properties: Properties) -> Made:
    request = {name: str(properties[name]) for name in ("AWSServiceName", "CustomSuffix", "Description")
               if name in properties}  # fmt: skip
    name = (await agent.ask("iam", "CreateServiceLinkedRole", request))["Role"]["RoleName"]
    return Made(name, {"RoleName": name})


async def _update_linked(agent: Agent, physical_id: str, old: Properties, new: Properties) -> Made:
    await agent.ask("iam", "UpdateRole", {"RoleName": physical_id, "Description": new.get("Description", "")})
    return Made(physical_id, {"RoleName": physical_id})


async def _delete_linked(agent: Agent, physical_id: str, properties: Properties) -> None:
    await _gone(agent, "DeleteServiceLinkedRole", {"RoleName": physical_id})


async def _create_certificate(agent: Agent, properties: Properties) -> Made:
    request: dict[str, Any] = {
        name: str(properties[name])
        for name in ("CertificateBody", "PrivateKey", "CertificateChain", "Path")
        if name in properties
    }
    request["ServerCertificateName"] = properties.get("ServerCertificateName") or agent.name(128)
    request["Tags"] = _tags(agent, properties)
    told = await agent.ask("iam", "UploadServerCertificate", request)
    found = told["ServerCertificateMetadata"]
    return Made(found["ServerCertificateName"], {"Arn": found["Arn"]})


async def _update_certificate(agent: Agent, physical_id: str, old: Properties, new: Properties) -> Made:
    who = {"ServerCertificateName": physical_id}
    if old.get("Path") != new.get("Path"):
        await agent.ask("iam", "UpdateServerCertificate", who | {"NewPath": new.get("Path", "/")})
    await _retag(agent, "ServerCertificate", who, old, new)
    told = await agent.ask("iam", "GetServerCertificate", who)
    return Made(physical_id, {"Arn": told["ServerCertificate"]["ServerCertificateMetadata"]["Arn"]})


async def _delete_certificate(agent: Agent, physical_id: str, properties: Properties) -> None:
    await _gone(agent, "DeleteServerCertificate", {"ServerCertificateName": physical_id})


_REPLACE = Property(update="replace")
RESOURCES = (
    ResourceType(
        "AWS::IAM::OIDCProvider",
        {"Url": Property(update="replace", required=True), "ClientIdList": Property(), "ThumbprintList": Property(),
         "Tags": _TAGS},
        _create_oidc, _delete_oidc, _update_oidc, ("Arn",),
    ),
    ResourceType(
        "AWS::IAM::SAMLProvider",
        {"Name": _REPLACE, "SamlMetadataDocument": Property(required=True), "AssertionEncryptionMode": Property(),
         "Tags": _TAGS},
        _create_saml, _delete_saml, _update_saml, ("Arn", "SamlProviderUUID"),
    ),
    ResourceType(
        "AWS::IAM::ServiceLinkedRole",
        {"AWSServiceName": Property(update="replace", required=True), "CustomSuffix": _REPLACE,
         "Description": Property()},
        _create_linked, _delete_linked, _update_linked, ("RoleName",),
    ),
    ResourceType(
        "AWS::IAM::ServerCertificate",
        {"ServerCertificateName": _REPLACE, "CertificateBody": _REPLACE, "PrivateKey": _REPLACE,
         "CertificateChain": _REPLACE, "Path": Property(), "Tags": _TAGS},
        _create_certificate, _delete_certificate, _update_certificate, ("Arn",),
    ),
)  # fmt: skip
