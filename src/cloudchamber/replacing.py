# SPDX-License-Identifier: Apache-2.0
"""One policy in the place of all that a role or user has, and back again.

The new one is put before the others go, so that no call meets a moment without a policy; what was there is written to
a file first.
"""

from __future__ import annotations

import json
import os
import urllib.parse
from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import ChamberError
from cloudchamber.client import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cloudchamber.client import Client

NAME = "LeastPrivilege"
"""Of the policy that is put in force."""


def held(client: Client, kind: str, name: str) -> dict[str, Any]:
    """The policies of a role or user (`kind`): inline documents by name, and the ARNs of attached ones."""
    title, who = _of(kind, name)
    inline: dict[str, Any] = {}
    for policy in _all(client, f"List{title}Policies", "PolicyNames", who):
        document = client.ask("iam", f"Get{title}Policy", **who, PolicyName=policy)["PolicyDocument"]
        inline[policy] = urllib.parse.unquote(document)  # Why: IAM answers documents URL-encoded
    attached = [one["PolicyArn"] for one in _all(client, f"ListAttached{title}Policies", "AttachedPolicies", who)]
    return {"kind": kind, "name": name, "inline": inline, "attached": attached}


def replace(client: Client, kind: str, name: str, policy: Mapping[str, Any], *, managed: bool = False) -> Path:
    """Put `policy` in force as the only one of a role or user; the file that undoes it.

    `managed`: as a managed policy of its own, for one that is too large for an inline policy.

    Raises:
        Refused: IAM's error. What was in force until then still is.
    """
    before = held(client, kind, name)
    undo, number = _room(client, name)
    document = json.dumps(policy)
    wanted: dict[str, Any] = {"inline": {NAME: document}, "attached": []}
    if managed:
        made = client.ask("iam", "CreatePolicy", PolicyName=f"{NAME}-{name}-{number}"[-128:], PolicyDocument=document)
        before["made"] = made["Policy"]["Arn"]
        wanted = {"inline": {}, "attached": [before["made"]]}
    with os.fdopen(os.open(undo, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(before, file, indent=2)
    try:
        _become(client, before, wanted)
    except Refused:
        _forget(client, before)
        undo.unlink()
        raise
    return undo


def _forget(client: Client, before: Mapping[str, Any]) -> None:
    """Delete the managed policy that was made."""
    if before.get("made"):
        client.ask("iam", "DeletePolicy", PolicyArn=before["made"])


def restore(client: Client, path: Path) -> dict[str, Any]:
    """Give a role or user the policies back that a file of `replace` has.

    Raises:
        ChamberError: the file is none of those.
    """
    try:
        wanted = json.loads(path.read_text(encoding="utf-8"))
        now = held(client, wanted["kind"], wanted["name"])
        _become(client, now, wanted)
        _forget(client, wanted)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ChamberError(f"{path} is no file of an earlier --apply: {error}") from error
    return wanted


def _become(client: Client, now: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Additions first; if one is refused, those before it are taken back."""
    title, who = _of(now["kind"], now["name"])
    added: list[tuple[str, dict[str, Any]]] = []
    try:
        for name, document in wanted["inline"].items():
            client.ask("iam", f"Put{title}Policy", **who, PolicyName=name, PolicyDocument=document)
            added.append(_undo_put(title, name, now))
        for arn in wanted["attached"]:
            if arn not in now["attached"]:
                client.ask("iam", f"Attach{title}Policy", **who, PolicyArn=arn)
                added.append((f"Detach{title}Policy", {"PolicyArn": arn}))
    except Refused:
        for operation, request in reversed(added):
            client.ask("iam", operation, **who, **request)
        raise
    for name in now["inline"]:
        if name not in wanted["inline"]:
            client.ask("iam", f"Delete{title}Policy", **who, PolicyName=name)
    for arn in now["attached"]:
        if arn not in wanted["attached"]:
            client.ask("iam", f"Detach{title}Policy", **who, PolicyArn=arn)


def _undo_put(title: str, name: str, now: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    if name in now["inline"]:
        return f"Put{title}Policy", {"PolicyName": name, "PolicyDocument": now["inline"][name]}
    return f"Delete{title}Policy", {"PolicyName": name}


def _room(client: Client, name: str) -> tuple[Path, int]:
    """A file that is not there yet, and its number."""
    folder = client.state / "undo"
    folder.mkdir(mode=0o700, exist_ok=True)
    numbers = [p.stem.rpartition("-")[2] for p in folder.glob("*-*.json")]
    number = 1 + max((int(text) for text in numbers if text.isdigit()), default=0)
    return folder / f"{name}-{number}.json", number


def _of(kind: str, name: str) -> tuple[str, dict[str, Any]]:
    title = {"role": "Role", "user": "User"}[kind]
    return title, {f"{title}Name": name}


def _all(client: Client, operation: str, members: str, who: Mapping[str, Any]) -> list[Any]:
    found: list[Any] = []
    more: dict[str, Any] = {}
    while True:
        answer = client.ask("iam", operation, **who, **more)
        found += answer.get(members, [])
        if not answer.get("IsTruncated"):
            return found
        more = {"Marker": answer["Marker"]}
