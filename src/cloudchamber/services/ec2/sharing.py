# SPDX-License-Identifier: Apache-2.0
"""Who else may use an image or a snapshot: pure. Source: Amazon EC2 API Reference, ModifyImageAttribute."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from cloudchamber.services.ec2 import errors
from cloudchamber.services.ec2.checks import inner, many, refuse
from cloudchamber.services.ec2.disks import ALL, as_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_ACCOUNT = re.compile(r"[0-9]{12}")
_ACCOUNTS_MAX = 1000


def view(shared: str) -> list[dict[str, str]]:
    """Permissions as AWS lists them."""
    return [{"Group": ALL} if one == ALL else {"UserId": one} for one in json.loads(shared)]


def changes(request: Mapping[str, Any], member: str, attribute: str, groups: str) -> tuple[list[str], list[str]]:
    """Whom a request adds and whom it removes, from either form: `member`'s Add and Remove, or `OperationType`.

    Raises:
        InvalidParameterValue, InvalidParameterCombination, MissingParameter, InvalidAMIAttributeItemValue.
    """
    structure = inner(request, member)
    refuse(f"{member}.", structure, {"Add", "Remove"})
    flat = [*many(request, "UserIds"), *many(request, groups)]
    if structure and flat:
        raise errors.InvalidParameterCombination("Fields for multiple attribute types specified")
    if request.get("Attribute") not in (None, "", attribute):
        raise errors.InvalidParameterValue(f"Value ({request['Attribute']}) for parameter attribute is invalid.")
    if structure:
        return _named(many(structure, "Add")), _named(many(structure, "Remove"))
    verb = request.get("OperationType") or ""
    if not flat:
        raise errors.MissingParameter("The request must contain the parameter userIds or groups")
    if verb not in ("add", "remove"):
        raise errors.InvalidParameterValue(f"Value ({verb}) for parameter operationType is invalid.")
    named = _checked(flat)
    return (named, []) if verb == "add" else ([], named)


def _named(given: Iterable[Mapping[str, Any]]) -> list[str]:
    found: list[str] = []
    for one in given:
        refuse("LaunchPermission.", one, {"UserId", "Group"})
        found.append(str(one.get("UserId") or one.get("Group") or ""))
    return _checked(found)


def _checked(given: list[str]) -> list[str]:
    for one in given:
        if one != ALL and not _ACCOUNT.fullmatch(one):
            raise errors.InvalidAMIAttributeItemValue(
                f'Invalid attribute item value "{one}" for userId item type: it must be an account id or "all".'
            )
    return given


def changed(shared: str, add: Iterable[str], remove: Iterable[str]) -> str:
    """The column with some added and some removed.

    Raises:
        InvalidParameterValue: more accounts than may be named.
    """
    gone = set(remove)
    found = [one for one in dict.fromkeys([*json.loads(shared), *add]) if one not in gone]
    if len(found) > _ACCOUNTS_MAX:
        raise errors.InvalidParameterValue(f"At most {_ACCOUNTS_MAX} accounts can be named.")
    return as_json(found)
