# SPDX-License-Identifier: Apache-2.0
"""The flagship app, deployed once for the journeys that only use it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RunningChamber, end_chamber, new_chamber
from tests.journeys.browser import Member, open_browser

EXAMPLE = Path(__file__).parents[2] / "examples/profile-app"


@dataclass
class Flagship:
    """A chamber with the app on it."""

    chamber: RunningChamber
    url: str
    instance: str
    outputs: dict[str, str]

    def tracks(self) -> list[dict[str, Any]]:
        return json.loads(self.chamber.cli("tracks", "--json", "--limit", "20").stdout)


def deploy(chamber: RunningChamber, *options: str) -> Flagship:
    done = json.loads(chamber.cli("up", str(EXAMPLE), "--json", *options).stdout)
    ((instance, url),) = done["apps"].items()
    chamber.https_port = int(url.rstrip("/").rpartition(":")[2])
    return Flagship(chamber, url, instance, done["outputs"])


@pytest.fixture(scope="package")
def flagship():
    running = new_chamber()
    running.start()
    try:
        yield deploy(running)
    finally:
        end_chamber(running)


@pytest.fixture(scope="package")
def driver(flagship):
    chromium = open_browser(flagship.chamber.state / "ca" / "ca.pem")
    yield chromium
    chromium.quit()


@pytest.fixture
def member(flagship, driver):
    driver.delete_all_cookies()
    person = Member(driver, flagship.url)
    person.open()
    driver.delete_all_cookies()
    person.open()
    return person
