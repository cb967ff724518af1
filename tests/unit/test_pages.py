# SPDX-License-Identifier: Apache-2.0
"""Page tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudchamber.base import pages


@given(st.text())
def test_a_token_holds_its_key(key):
    if any("\ud800" <= letter <= "\udfff" for letter in key):
        return
    assert pages.after(pages.token(key)) == key


@pytest.mark.parametrize("text", ["x", "_-_-_", "\u2603", "gICA"])
def test_what_is_no_token_is_refused(text):
    with pytest.raises(ValueError):
        pages.after(text)
