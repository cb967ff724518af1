# SPDX-License-Identifier: Apache-2.0
"""User data is read whatever it is, within limits of time and size."""

from __future__ import annotations

import base64
import gzip
import json
import zlib

from hypothesis import given
from hypothesis import strategies as st

from cloudchamber.services.ec2 import user_data


def test_a_script_and_its_packed_form() -> None:
    for data in (b"#!/bin/sh\ntrue\n", gzip.compress(b"#!/bin/sh\ntrue\n")):
        found = user_data.read(data)
        assert [(p["kind"], p["name"], base64.b64decode(p["data"])) for p in found.parts] == [
            ("script", "part-001", b"#!/bin/sh\ntrue\n")
        ]
        assert not found.said


def test_parts_are_merged_as_cloud_init_does() -> None:
    boundary = 'Content-Type: multipart/mixed; boundary="B"\nMIME-Version: 1.0\n\n'
    parts = "".join(
        f"--B\nContent-Type: text/cloud-config\n\n#cloud-config\n{text}\n"
        for text in ("runcmd: [a]\npackages: [x]", "runcmd: [b]", "packages: [y]\nmerge_how: list(append)+dict()")
    )
    assert user_data.read(f"{boundary}{parts}--B--\n".encode()).config == {"runcmd": ["b"], "packages": ["x", "y"]}


def test_archives() -> None:
    text = "#cloud-config-archive\n- type: text/cloud-config\n  content: |\n    runcmd: [a]\n- |\n  #!/bin/sh\n  true\n"
    found = user_data.read(text.encode())
    assert found.config == {"runcmd": ["a"]}
    assert [p["kind"] for p in found.parts] == ["script"]


def test_what_would_be_too_much_is_said() -> None:
    bomb = "#cloud-config\na: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{n}: &{n} [*{m},*{m},*{m},*{m},*{m},*{m},*{m},*{m},*{m}]\n"
        for m, n in zip("abcdefgh", "bcdefghi", strict=True)
    )
    found = user_data.read(bomb.encode())
    assert (found.config, len(found.said)) == ({}, 1)
    assert "too many values" in found.said[0]
    assert "longer than 1 MiB" in user_data.read(gzip.compress(b"#!" + b"x" * 2_000_000)).said[0]
    assert "not readable gzip" in user_data.read(b"\x1f\x8bnonsense").said[0]
    assert "not readable" in user_data.read(b"#cloud-config\n" + b"[" * 5000).said[0]


def test_names_of_files_lead_nowhere() -> None:
    text = (
        "MIME-Version: 1.0\nContent-Type: text/x-shellscript\nContent-Disposition: attachment; "
        'filename="../../../etc/cron.d/x"\n\n#!/bin/sh\n'
    )
    assert "/" not in user_data.read(text.encode()).parts[0]["name"]


@given(st.binary(max_size=400), st.sampled_from([b"", b"#cloud-config\n", b"MIME-Version: 1.0\n", b"#!", b"\x1f\x8b"]))
def test_anything_is_read(data: bytes, beginning: bytes) -> None:
    document = json.loads(zlib.decompress(base64.b64decode(user_data.read(beginning + data).packed())))
    assert set(document) == {"parts", "config", "said"}
