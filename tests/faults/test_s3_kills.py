# SPDX-License-Identifier: Apache-2.0
"""A chamber that is killed before its n-th call on the disk, while it works or while it starts, again and again."""

from __future__ import annotations

import random
import threading

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from tools.lying_clients import Worker
from tools.lying_disk import belongs_to, built, preloaded, quick
from tools.lying_state import events_in, found_in, promises

from tests.conftest import end_chamber, new_chamber

KILL = -9
ROUNDS = 4


@pytest.fixture
def killed(tmp_path):
    """A chamber, and the file that says when it dies."""
    shim = built(tmp_path)
    if shim is None:
        pytest.skip("no C compiler, or no Linux: nobody counts the calls")
    chamber = new_chamber(quick())
    chamber.more = preloaded(shim, chamber.state, LYING_FAULTS=str(tmp_path / "faults"))
    yield chamber, tmp_path / "faults"
    (tmp_path / "faults").unlink(missing_ok=True)
    end_chamber(chamber)


def work(client: Worker, refused: list[Exception]) -> None:
    """Until the chamber is gone."""
    try:
        for _ in range(10_000):
            client.step()
    except ClientError as error:
        refused.append(error)
    except BotoCoreError:
        return


def look(client: Worker, found: dict, events: set) -> None:
    """What was told is so; only what was asked last may or may not be."""
    mine = {place: value for place, value in found.items() if belongs_to(place, client)}
    differ = {place for place in mine.keys() | client.now.keys() if mine.get(place) != client.now.get(place)}
    assert all(place.startswith(client.unsure) for place in differ), differ
    told = {one.event for one in client.said if one.event is not None and one.answered_s > client.began_s}
    assert told - events == set()
    client.now = mine


def test_killed_at_any_call_again_and_again(killed):
    chamber, faults = killed
    luck = random.Random(5)
    chamber.start()
    clients = [Worker(chamber.client("s3"), number, 5) for number in range(3)]
    for client in clients:
        client.begin()
        client.replicate(chamber.client("iam"))
    for round_ in range(ROUNDS):
        for client in clients:
            client.s3 = chamber.client("s3")
            client.began()
        faults.write_text(f"* * {luck.randrange(20, 900)} 1 {KILL} 0\n")
        refused: list[Exception] = []
        threads = [threading.Thread(target=work, args=(client, refused)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert refused == []
        assert chamber.process.wait() == KILL
        if round_ % 2:  # and once more while it starts
            faults.write_text(f"* * {luck.randrange(40)} 1 {KILL} 0\n")
            with pytest.raises(AssertionError, match="did not start"):
                chamber.start()
        faults.unlink()
        found, events = found_in(chamber.state), events_in(chamber.state)
        for client in clients:
            look(client, found, events)
        assert promises(chamber.state) == []
        chamber.start()
    assert chamber.cli("scrub", check=False).returncode == 0
