# SPDX-License-Identifier: Apache-2.0
"""Two chambers over one PostgreSQL and one SeaweedFS."""

from __future__ import annotations

import uuid

import pytest

from tests.cluster import servers
from tests.conftest import end_chamber, new_chamber


@pytest.fixture(scope="session")
def stand():
    """What the chambers share."""
    if servers.missing():
        pytest.skip(servers.missing())
    made = servers.Ground()
    yield made
    made.end()


@pytest.fixture(scope="session")
def two(stand):
    """Two chambers; a test that kills one starts it again."""
    made = new_chamber(**stand.settings), new_chamber(**stand.settings)
    for one in made:
        one.start()
    yield made
    for one in made:
        end_chamber(one)


@pytest.fixture
def doors(two):
    """An S3 client of each chamber."""
    return tuple(one.client("s3") for one in two)


@pytest.fixture
def bucket(doors):
    name = f"shared-{uuid.uuid4().hex[:20]}"
    doors[0].create_bucket(Bucket=name)
    return name
