# SPDX-License-Identifier: Apache-2.0
"""Codes of MFA devices against the vectors of RFC 4226 and RFC 6238, and how two in a row are found."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudchamber.services.iam import mfa

SEED = b"12345678901234567890"


RFC_4226 = (
    "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489",
)  # fmt: skip


@pytest.mark.parametrize(("step", "code"), list(enumerate(RFC_4226)))
def test_codes_of_rfc_4226_appendix_d(step, code):
    assert mfa.code(SEED, step) == code


@pytest.mark.parametrize(
    ("second", "code"),
    [
        (59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)  # fmt: skip
def test_codes_of_rfc_6238_appendix_b(second, code):
    assert mfa.code(SEED, mfa.step_of(datetime.fromtimestamp(second, UTC))) == code


def device(**changes) -> mfa.Device:
    values = {
        "serial": "arn:aws:iam::000000000000:mfa/m", "account": "000000000000", "name": "m", "path": "/", "seed": SEED,
        "created": 0.0, "user": "", "enabled": 0.0, "drift": 0, "last_step": -1,
    }  # fmt: skip
    return mfa.Device(**{**values, **changes})


@given(st.integers(100, 10**8), st.integers(-19, 19), st.binary(min_size=10, max_size=40))
def test_two_codes_in_a_row_tell_how_far_the_clock_is_off(step, off, seed):
    now = datetime.fromtimestamp(step * 30 + 7, UTC)
    first, second = mfa.code(seed, step + off), mfa.code(seed, step + off + 1)
    found = mfa.drift(device(seed=seed), first, second, now, again=False)
    assert found is not None
    drift, last = found
    assert last == step + drift
    assert mfa.code(seed, last) == second


def test_codes_too_far_off_not_in_a_row_or_used_are_refused():
    now = datetime.fromtimestamp(30 * 5000, UTC)
    codes = {step: mfa.code(SEED, step) for step in range(1000, 5100)}
    assert mfa.drift(device(), codes[4900], codes[4901], now, again=False) is None
    assert mfa.drift(device(), codes[4900], codes[4901], now, again=True) == (-99, 4901)
    assert mfa.drift(device(), codes[5000], codes[5000], now, again=False) is None
    assert mfa.drift(device(), codes[5001], codes[5000], now, again=False) is None
    assert mfa.drift(device(last_step=5000), codes[4999], codes[5000], now, again=True) is None
