# SPDX-License-Identifier: Apache-2.0
"""EC2's pure parts: the life cycle, rules, names, filters, unit files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudchamber.services.ec2 import catalog, checks, errors, lifecycle, names, nets, permissions
from cloudchamber.services.ec2.tables import Rule

GUEST = Path(lifecycle.__file__).parent / "guest"
EVENTS = ("start", "stop", "terminate", "began", "failed", "ended", "gone")


@given(st.lists(st.sampled_from(EVENTS), max_size=40))
def test_a_walk_never_leaves_the_states_and_never_comes_back_from_terminated(events: list[Any]) -> None:
    state = "pending"
    for event in events:
        following = lifecycle.after(state, event)
        if state == "terminated":
            assert following in (None, "terminated")
        if state == "shutting-down":
            assert following in (None, "shutting-down", "terminated")
        state = following or state
        assert state in lifecycle.CODES


def test_every_state_can_be_terminated_and_every_passing_state_ends() -> None:
    for state in lifecycle.CODES:
        assert lifecycle.after(state, "terminate") is not None
    for state, event in (("pending", "began"), ("stopping", "gone"), ("shutting-down", "gone")):
        assert lifecycle.after(state, event) is not None  # pyright: ignore[reportArgumentType]


def rule(
    egress: bool = False, protocol: str = "tcp", ports: tuple[int, int] = (80, 80), cidr: str = "", peer: str = ""
) -> Rule:
    return Rule("sgr-1", "sg-1", egress, protocol, *ports, cidr, peer)


@pytest.mark.parametrize(
    ("one", "admits"),
    [
        (rule(cidr="0.0.0.0/0"), True),
        (rule(cidr="127.0.0.0/8"), True),
        (rule(cidr="203.0.113.5/32"), False),
        (rule(cidr="::/0"), False),
        (rule(cidr="0.0.0.0/0", ports=(81, 90)), False),
        (rule(cidr="0.0.0.0/0", ports=(1, 1024)), True),
        (rule(cidr="0.0.0.0/0", protocol="udp"), False),
        (rule(cidr="0.0.0.0/0", protocol="-1", ports=(-1, -1)), True),
        (rule(cidr="0.0.0.0/0", egress=True), False),
        (rule(peer="sg-web"), True),
        (rule(peer="sg-other"), False),
    ],
)
def test_what_a_rule_admits(one: Rule, admits: bool) -> None:
    found = permissions.admitting([one], 80, "127.0.0.1", ["sg-web"], egress=False)
    assert (found is one) is admits


@given(st.text(max_size=30))
def test_cidr_takes_blocks_and_refuses_the_rest(text: str) -> None:
    try:
        block = permissions.cidr(text, 4)
    except errors.InvalidParameterValue:
        return
    assert permissions.cidr(block, 4) == block


@given(st.ip_addresses(v=4, network="172.31.0.0/16"))
def test_names_of_an_address(address: Any) -> None:
    assert names.private_dns(str(address), "us-east-1") == f"ip-{str(address).replace('.', '-')}.ec2.internal"
    assert len(names.mac(str(address)).split(":")) == 6


def test_default_resources_keep_their_ids_and_do_not_overlap() -> None:
    subnets = nets.default_subnets("000000000000", "us-east-1")
    assert subnets == nets.default_subnets("000000000000", "us-east-1")
    assert len({one.id for one in subnets}) == len({one.cidr for one in subnets}) == 6
    assert all(names.covers(names.VPC_CIDR, one.cidr.partition("/")[0]) for one in subnets)
    assert names.vpc_id("000000000000", "us-east-1") != names.vpc_id("000000000000", "eu-west-1")


def test_sizes_of_well_known_types() -> None:
    sizes = {name: (catalog.TYPES[name].vcpus, catalog.TYPES[name].memory_mib) for name in catalog.TYPES}
    assert sizes["t3.micro"] == (2, 1024)
    assert sizes["t4g.small"] == (2, 2048)
    assert sizes["m5.large"] == (2, 8192)
    assert sizes["c5.9xlarge"] == (36, 73728)
    assert sizes["r6g.medium"] == (1, 8192)
    assert "c5.8xlarge" not in sizes


@pytest.mark.parametrize(
    ("pattern", "value", "found"),
    [
        ("web*", "web-1", True),
        ("w?b", "web", True),
        ("Web", "web", False),
        ("\\*", "*", True),
        ("\\*", "x", False),
        ("[ab]", "a", False),
        ("[ab]", "[ab]", True),
    ],
)
def test_filter_patterns(pattern: str, value: str, found: bool) -> None:
    assert checks.matches(pattern, value) is found


@given(st.integers(1, 30), st.integers(1, 7))
def test_pages_give_every_row_once(count: int, size: int) -> None:
    rows, seen, token = [f"i-{n:04}" for n in range(count)], [], None
    while True:
        chosen, token = checks.page(rows, {"MaxResults": size, "NextToken": token}, lambda row: row)
        seen += chosen
        if token is None:
            break
    assert seen == rows
    with pytest.raises(errors.InvalidNextToken):
        checks.page(rows, {"NextToken": "!"}, lambda row: row)


@pytest.fixture
def units(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(GUEST))
    import unit_files  # pyright: ignore[reportMissingImports]

    yield unit_files
    sys.modules.pop("unit_files")


def test_unit_files(units: Any, tmp_path: Path) -> None:
    path = tmp_path / "app.service"
    path.write_text(
        "# comment\n[Unit]\nDescription=An app\n[Service]\nExecStart=/bin/old\nExecStart=\n"
        "ExecStart=/usr/bin/app --port ${PORT} \\\n  $FLAGS 'a b'\nRestartSec=1min 500ms\n"
        "LimitNOFILE=5\n[Install]\nWantedBy=multi-user.target\n"
    )
    unit = units.Unit("app.service", str(path))
    assert unit.description == "An app"
    assert unit.check() == ["LimitNOFILE"]
    assert unit.seconds("RestartSec", 0) == 60.5
    command = unit.all("ExecStart")
    assert len(command) == 1
    env = {"PORT": "80", "FLAGS": "-v -x"}
    assert units.argv(command[0], env) == ["/usr/bin/app", "--port", "80", "-v", "-x", "a b"]
    path.write_text("[Service]\nType=forking\nExecStart=/bin/true\n")
    with pytest.raises(units.UnitError):
        units.Unit("app.service", str(path)).check()


def test_the_first_program_does_nothing_outside_a_sandbox() -> None:
    import subprocess

    done = subprocess.run([sys.executable, "-I", "-S", str(GUEST / "init.py")], env={}, capture_output=True, text=True)
    assert done.returncode == 1
    assert "in a sandbox" in done.stderr
