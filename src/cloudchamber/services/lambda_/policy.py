# SPDX-License-Identifier: Apache-2.0
"""The function policy: statements as AddPermission writes them. Pure.

Source: Lambda API Reference, AddPermission; Lambda Developer Guide, resource-based policies.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from cloudchamber.services.lambda_.errors import InvalidParameterValueException, PolicyLengthExceededException

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LENGTH_MAX = 20480
_SID = re.compile(r"[a-zA-Z0-9_-]{1,100}")
_ACTION = re.compile(r"lambda:\*|lambda:[a-zA-Z]+|\*")
_ACCOUNT = re.compile(r"\d{12}")
_SERVICE = re.compile(r"[a-z0-9][a-z0-9-]*(\.[a-z0-9-]+)*\.amazonaws\.com(\.cn)?")
_AWS_ARN = re.compile(r"arn:aws[a-zA-Z-]*:(iam|sts)::\d{12}:\S+")


def statement(request: Mapping[str, Any], arn: str) -> dict[str, Any]:
    """The statement of an AddPermission request for the function `arn`.

    Raises:
        InvalidParameterValueException: statement id, action or principal is not valid.
    """
    sid, action = str(request["StatementId"]), str(request["Action"])
    if not _SID.fullmatch(sid):
        raise InvalidParameterValueException(
            f"1 validation error detected: Value '{sid}' at 'statementId' failed to satisfy constraint: Member must "
            "satisfy regular expression pattern: ([a-zA-Z0-9-_]+)"
        )
    if not _ACTION.fullmatch(action):
        raise InvalidParameterValueException(
            f"1 validation error detected: Value '{action}' at 'action' failed to satisfy constraint: Member must "
            r"satisfy regular expression pattern: (lambda:[*]|lambda:[a-zA-Z]+|[*])"
        )
    made: dict[str, Any] = {
        "Sid": sid,
        "Effect": "Allow",
        "Principal": _principal(str(request["Principal"])),
        "Action": action,
        "Resource": arn,
    }
    conditions = _conditions(request)
    if conditions:
        made["Condition"] = conditions
    return made


def layer_statement(request: Mapping[str, Any], arn: str) -> dict[str, Any]:
    """The statement of an AddLayerVersionPermission request.

    Raises:
        InvalidParameterValueException: statement id, action or principal is not valid.
    """
    sid, action, principal = (str(request[name]) for name in ("StatementId", "Action", "Principal"))
    if not _SID.fullmatch(sid):
        raise InvalidParameterValueException(
            f"1 validation error detected: Value '{sid}' at 'statementId' failed to satisfy constraint: Member must "
            "satisfy regular expression pattern: ([a-zA-Z0-9-_]+)"
        )
    if action != "lambda:GetLayerVersion":
        raise InvalidParameterValueException(
            f"1 validation error detected: Value '{action}' at 'action' failed to satisfy constraint: Member must "
            "satisfy regular expression pattern: lambda:GetLayerVersion"
        )
    organization = request.get("OrganizationId")
    if organization and principal != "*":
        raise InvalidParameterValueException("OrganizationId can only be used with the principal *")
    made: dict[str, Any] = {
        "Sid": sid,
        "Effect": "Allow",
        "Principal": _principal(principal),
        "Action": action,
        "Resource": arn,
    }
    if organization:
        made["Condition"] = {"StringEquals": {"aws:PrincipalOrgID": organization}}
    return made


def _principal(text: str) -> str | dict[str, str]:
    if text == "*":
        return "*"
    if _ACCOUNT.fullmatch(text):
        return {"AWS": f"arn:aws:iam::{text}:root"}
    if _AWS_ARN.fullmatch(text):
        return {"AWS": text}
    if _SERVICE.fullmatch(text):
        return {"Service": text}
    raise InvalidParameterValueException(
        "The provided principal was invalid. Please check the principal and try again."
    )


def _conditions(request: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    equals: dict[str, str] = {}
    if account := request.get("SourceAccount"):
        if not _ACCOUNT.fullmatch(account):
            raise InvalidParameterValueException(
                f"1 validation error detected: Value '{account}' at 'sourceAccount' failed to satisfy constraint: "
                r"Member must satisfy regular expression pattern: \d{12}"
            )
        equals["AWS:SourceAccount"] = account
    if organization := request.get("PrincipalOrgID"):
        equals["aws:PrincipalOrgID"] = organization
    if token := request.get("EventSourceToken"):
        equals["lambda:EventSourceToken"] = token
    if auth := request.get("FunctionUrlAuthType"):
        if auth not in ("NONE", "AWS_IAM"):
            raise InvalidParameterValueException(
                f"1 validation error detected: Value '{auth}' at 'functionUrlAuthType' failed to satisfy constraint: "
                "Member must satisfy enum value set: [AWS_IAM, NONE]"
            )
        if request["Action"] != "lambda:InvokeFunctionUrl":
            raise InvalidParameterValueException(
                "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action"
            )
        equals["lambda:FunctionUrlAuthType"] = auth
    conditions: dict[str, dict[str, str]] = {"StringEquals": equals} if equals else {}
    if request.get("InvokedViaFunctionUrl") is not None:
        conditions["Bool"] = {"lambda:InvokedViaFunctionUrl": str(bool(request["InvokedViaFunctionUrl"])).lower()}
    if source := request.get("SourceArn"):
        if not str(source).startswith("arn:"):
            raise InvalidParameterValueException(
                f"1 validation error detected: Value '{source}' at 'sourceArn' failed to satisfy constraint: Member "
                r"must satisfy regular expression pattern: arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:.*"
            )
        conditions["ArnLike"] = {"AWS:SourceArn": source}
    return conditions


def document(statements: Sequence[Mapping[str, Any]]) -> str:
    """The policy document as GetPolicy gives it; empty without statements.

    Raises:
        PolicyLengthExceededException: longer than 20 KB.
    """
    if not statements:
        return ""
    text = json.dumps({"Version": "2012-10-17", "Id": "default", "Statement": list(statements)}, separators=(",", ":"))
    if len(text) > LENGTH_MAX:
        raise PolicyLengthExceededException(
            f"The final policy size ({len(text)}) is bigger than the limit ({LENGTH_MAX})."
        )
    return text
