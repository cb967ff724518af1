# SPDX-License-Identifier: Apache-2.0
"""Whether the machine restarted."""

from __future__ import annotations

from pathlib import Path

from cloudchamber.services.ec2 import host


def test_a_restart_is_seen_once(tmp_path: Path) -> None:
    kept = tmp_path / "boot-id"
    assert not host.restarted(kept)
    assert not host.restarted(kept)
    kept.write_text("another boot\n")
    assert host.restarted(kept)
    assert not host.restarted(kept)
