# SPDX-License-Identifier: Apache-2.0
"""Random passwords keep their rules; sealed values open only where they belong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudchamber.base.errors import ChamberError
from cloudchamber.services.secretsmanager.names import random_password
from cloudchamber.services.secretsmanager.sealing import Seal


@given(st.data(), st.integers(4, 60), st.text(alphabet="abcXYZ019!", max_size=5))
def test_passwords_keep_their_rules(data: st.DataObject, length: int, excluded: str) -> None:
    request = {"PasswordLength": length, "ExcludeCharacters": excluded}
    found = random_password(request, lambda below: data.draw(st.integers(0, below - 1)))
    assert len(found) == length and not set(excluded) & set(found)
    assert any(c.islower() for c in found) and any(c.isupper() for c in found) and any(c.isdigit() for c in found)


def test_sealed_values_are_bound(tmp_path: Path) -> None:
    seal = Seal(tmp_path / "sm")
    sealed = seal.close(b"value", "one")
    assert b"value" not in sealed and Seal(tmp_path / "sm").open(sealed, "one") == b"value"
    with pytest.raises(ChamberError):
        seal.open(sealed, "two")
