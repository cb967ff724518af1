# SPDX-License-Identifier: Apache-2.0
"""Slices and types are what ``python -m tools gen`` would write now."""

from __future__ import annotations

import pytest
from tools import gen

from cloudchamber.wire.model import load


def test_generated_files_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    status = gen.main(["--check"])
    assert status == 0, capsys.readouterr().out + "Run: python -m tools gen"


def test_slices_keep_every_name() -> None:
    for path in gen.MODELS.glob("*.json"):
        service = load(path.stem)
        assert any(o.implemented for o in service.operations.values())
        # Operations that we do not have are known by name, so that they can be refused by name.
        assert any(not o.implemented for o in service.operations.values()) or path.stem == "sts"
