# SPDX-License-Identifier: Apache-2.0
"""Instances, functions and events at random while the chamber is killed; `python -m tools churn` is the long form."""

from __future__ import annotations

from tools.churn import Churn, remains

from tests.conftest import end_chamber, new_chamber


def test_state_equals_reality_after_random_work_and_kills():
    running = new_chamber()
    running.start()
    try:
        churn = Churn(running, seed=7)
        churn.prepare()
        tally = churn.run(rounds=12, kills=2)
        assert (tally.lost, tally.wrong, tally.left) == ([], [], [])
        assert tally.done["put"] == len(tally.put) > 0
        churn.clear()
        assert remains(running.state) == []
    finally:
        end_chamber(running)
