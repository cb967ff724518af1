# SPDX-License-Identifier: Apache-2.0
"""The flagship's two roles come out of what they did, and the app works the same under the written policies."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.journeys.person import Person, picture

WITHIN_S = 60


def journey(flagship: Any, name: str, number: int) -> None:
    """Sign up, look, write, upload, see the picture and its thumbnail."""
    person = Person(flagship.url, flagship.chamber.state / "ca" / "ca.pem", name)
    person.sign_up()
    assert name in person.send("GET", "/")[1]
    person.form("/posts", body=f"a post of {name}")
    assert f"a post of {name}" in person.send("GET", "/")[1]
    assert person.upload(picture(number))
    member = person.avatar_key().split("/")[1]
    assert person.send("GET", f"/members/{member}/avatar")[0] == 200
    ends = time.monotonic() + WITHIN_S
    while person.send("GET", f"/members/{member}/thumbnail")[0] != 200:
        assert time.monotonic() < ends, "no thumbnail"
        time.sleep(0.05)


def roles(flagship: Any) -> list[str]:
    function = flagship.chamber.client("lambda").list_functions()["Functions"][0]
    return [flagship.outputs["WebRole"], function["Role"].rpartition("/")[2]]


def test_the_roles_come_out_of_what_they_did(flagship: Any) -> None:
    chamber = flagship.chamber
    journey(flagship, "frugal", 1)
    undo: list[str] = []
    try:
        for role in roles(flagship):
            done = chamber.cli("policy", role, "--prove", "--diff", "--apply", "--yes")
            assert "0 would be denied" in done.stdout and "granted and never used\n  nothing\n" in done.stdout
            undo.append(done.stderr.partition("policy --undo ")[2].split()[0])
            assert "proved" in done.stdout.splitlines()
            iam = chamber.client("iam")
            assert iam.list_role_policies(RoleName=role)["PolicyNames"] == ["LeastPrivilege"]
            assert iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"] == []
        journey(flagship, "thrifty", 2)
        steps = [step for track in flagship.tracks() for step in track["segments"]]
        denied = [told for step in steps for told in step["decisions"] if not told["allowed"]]
        assert steps and not denied, json.dumps(denied, indent=1)
    finally:
        for path in undo:
            chamber.cli("policy", "--undo", path)
