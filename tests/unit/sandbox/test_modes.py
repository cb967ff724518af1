# SPDX-License-Identifier: Apache-2.0
"""What a chamber without namespaces says about it."""

from __future__ import annotations

import pytest

from cloudchamber import packaging
from cloudchamber.sandbox import modes


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setattr(modes, "_SETTINGS", tmp_path)
    for name, _, allows in modes._FORBIDS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{allows}\n")
    monkeypatch.setattr(modes.os, "geteuid", lambda: 1000)
    return tmp_path


@pytest.mark.parametrize(("name", "forbids", "allows"), modes._FORBIDS)
def test_the_setting_that_forbids_is_named_with_the_command(settings, name, forbids, allows):
    (settings / name).write_text(f"{forbids}\n")
    why, helps = modes.stronger("landlock", {"ns-root": "needs root", "ns-user": "unshare: not permitted"})
    assert why == "unshare: not permitted"
    assert helps == f"sudo sysctl {name.replace('/', '.')}={allows}"


def test_a_mode_that_was_asked_for_is_no_fault_of_the_machine(settings):
    why, helps = modes.stronger("plain", {})
    assert "--sandbox plain" in why and "without --sandbox" in helps


@pytest.mark.parametrize("mode", ["ns-root", "ns-user"])
def test_namespaces_need_no_advice(mode):
    assert modes.stronger(mode, {"ns-root": "needs root"}) == ("", "")


def test_only_what_a_template_always_makes_is_certain(tmp_path):
    template = tmp_path / "template.yaml"
    template.write_text(
        "Conditions: {C: !Equals [a, b]}\nResources:\n"
        "  A: {Type: AWS::EC2::Instance, Condition: C}\n  B: {Type: AWS::S3::Bucket}\n"
    )
    assert packaging.certain_types(template) == {"AWS::S3::Bucket"}
