# SPDX-License-Identifier: Apache-2.0
"""Specs on their way through JSON, rules as a filter, files of /etc, user ids, the console's end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudchamber.sandbox import etc, init, nft, uids
from cloudchamber.sandbox.console_log import ConsoleLog, tail
from cloudchamber.sandbox.modes import not_blocked
from cloudchamber.sandbox.spec import Limits, Listener, Mount, Rule, SandboxSpec, from_json, to_json

TEXT = st.text(max_size=12)
LISTENERS = st.builds(
    Listener, TEXT, TEXT, st.integers(0, 65535), st.sampled_from(["own", "router"]), st.sampled_from(["tcp", "udp"])
)
RULES = st.builds(
    Rule,
    st.sampled_from(["in", "out"]),
    st.sampled_from(["tcp", "udp", "icmp", "-1", "50"]),
    st.integers(0, 65535),
    st.integers(0, 65535),
    st.sampled_from(["0.0.0.0/0", "10.1.2.3/32", "172.31.0.0/20", "::/0"]),
    TEXT,
)
PATHS = st.builds(lambda name: Path("/", name.replace("\0", "")), TEXT)
SPECS = st.builds(
    SandboxSpec,
    id=TEXT,
    folder=PATHS,
    program=st.lists(TEXT).map(tuple),
    env=st.dictionaries(TEXT, TEXT),
    listeners=st.lists(LISTENERS).map(tuple),
    mounts=st.lists(st.builds(Mount, PATHS, TEXT, st.booleans())).map(tuple),
    volume=st.none() | PATHS,
    limits=st.builds(Limits, st.integers(0), st.floats(0, 64)),
    ca_pem=st.binary(),
    rules=st.none() | st.lists(RULES).map(tuple),
    detached=st.booleans(),
    hosts=st.dictionaries(TEXT, TEXT),
)


@given(SPECS)
def test_a_spec_is_the_same_after_a_trip_through_json(spec):
    assert from_json(json.loads(json.dumps(to_json(spec)))) == spec


@given(st.lists(RULES))
def test_a_ruleset_has_one_statement_a_line_and_balanced_braces(rules):
    text = nft.ruleset(rules)
    assert text.count("{") == text.count("}")
    assert text.startswith("table ip cloudchamber\ndelete table ip cloudchamber\n")


@pytest.mark.skipif(nft.program() is None or os.geteuid() != 0, reason="nft is not installed, or needs root to check")
def test_nft_understands_every_kind_of_rule():
    rules = [
        Rule(direction, protocol, 80, 443, cidr)
        for direction in ("in", "out")
        for protocol in ("tcp", "udp", "icmp", "-1", "50")
        for cidr in ("0.0.0.0/0", "10.1.2.3/32", "::/0")
    ]
    done = subprocess.run([nft.program(), "-c", "-f", "-"], input=nft.ruleset(rules).encode(), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_inbound_by_port():
    rules = (
        Rule("in", "tcp", 80, 90, "0.0.0.0/0"),
        Rule("out", "-1", 0, 65535, "0.0.0.0/0"),
        Rule("in", "udp", 53, 53, "::/0"),
    )
    assert [nft.lets_in(rules, port) for port in (79, 80, 90, 91, 53)] == [False, True, True, False, False]
    assert nft.lets_in(None, 1)
    assert not nft.lets_in((), 1)
    assert nft.lets_in((Rule("in", "-1", -1, -1, "0.0.0.0/0"),), 5)


def test_marks_are_filled_in_program_and_environment():
    spec = SandboxSpec("x", Path("/x"), ("run", "${mount:/var/task}/a", "$HOME ${other}"))
    made = init.placed(spec, {"E": "http://${listener:e}/"}, {"e": ["127.0.0.1", 9]}, {"/var/task": "/code"})
    assert made.program == ("run", "/code/a", "$HOME ${other}")
    assert made.env == {"E": "http://127.0.0.1:9/"}


def test_etc_is_replaced_and_never_followed(tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "etc"
    outside.write_text("untouched")
    folder.mkdir()
    (folder / "hosts").symlink_to(outside)
    (folder / "passwd").write_text("theirs")
    etc.fill(folder, {"hosts": b"ours", "passwd": b"ours", "deep/er/file": b"x"}, None, once=frozenset({"passwd"}))
    assert (outside.read_text(), (folder / "hosts").read_text()) == ("untouched", "ours")
    assert ((folder / "passwd").read_text(), (folder / "deep/er/file").read_text()) == ("theirs", "x")
    shutil.rmtree(folder / "deep")
    (folder / "deep").symlink_to(tmp_path)
    etc.fill(folder, {"deep/file": b"x"}, None)
    assert (folder / "deep/file").read_text() == "x"
    assert not (tmp_path / "file").exists()


def test_generated_files_name_the_instance_and_its_neighbours():
    spec = SandboxSpec(
        "i", Path("/i"), (), hostname="ip-1", private_ip="172.31.0.9", hosts={"db.x": "127.0.9.9"}, ca_pem=b"CA"
    )
    files = etc.generated(spec, many_uids=True, path="/p")
    assert b"172.31.0.9\tip-1\n127.0.9.9\tdb.x\n" in files["hosts"]
    assert b"ec2-user:x:1000:1000:" in files["passwd"]
    assert files["ssl/certs/ca-certificates.crt"].endswith(b"\nCA") or files["ssl/certs/ca-certificates.crt"] == b"CA"
    assert b"ec2-user:x:0:0:" in etc.generated(spec, many_uids=False, path="/p")["passwd"]


def test_ids_move_with_their_range():
    first = uids.FIRST + 7 * uids.COUNT
    assert uids.shifted(0, first) == first
    assert uids.shifted(uids.FIRST + 3 * uids.COUNT + 1000, first) == first + 1000
    assert uids.FIRST + uids.SLOTS * uids.COUNT < 1 << 31


def test_a_console_is_two_files_at_most(tmp_path):
    log = ConsoleLog(tmp_path, largest_bytes=100)
    for number in range(100):
        log.write(f"line {number:04d}\n".encode())
    assert {path.name for path in tmp_path.iterdir()} == {"console.log", "console.log.1"}
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 200
    assert tail(tmp_path, 20) == b"line 0098\nline 0099\n"
    assert len(tail(tmp_path, 150)) == 150
    assert tail(tmp_path / "none", 10) == b""


def test_every_mode_says_what_it_leaves_open():
    assert len(not_blocked("ns-root", "cgroup2", landlock=7, nft=True)) == 2
    assert any("nft" in words for words in not_blocked("ns-user", "cgroup1", landlock=7, nft=False))
    old, new = (not_blocked("landlock", "rlimits", landlock=abi, nft=False) for abi in (3, 7))
    assert len(old) == len(new) + 2
    assert any("every file" in words for words in not_blocked("plain", "rlimits", landlock=0, nft=False))
