# SPDX-License-Identifier: Apache-2.0
"""Quotas of the account, on tables that are as full as they may be."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from cloudchamber.services.iam import quotas
from cloudchamber.services.iam.errors import LimitExceeded

ACCOUNT = "000000000000"


@pytest.fixture
def db():
    connection = sqlite3.connect(":memory:")
    folder = Path(quotas.__file__).parent / "migrations"
    connection.executescript((folder / "0001_iam.sql").read_text())
    yield connection
    connection.close()


@pytest.mark.parametrize("kind", ["user", "group", "role", "instance-profile"])
def test_one_more_than_the_quota_is_refused(db, kind):
    quota = quotas.OF_KIND[kind]
    row = "INSERT INTO iam_entities (account, kind, name, path, id, arn, created) VALUES (?, ?, ?, '/', 'I', 'A', 0)"
    db.executemany(row, [(ACCOUNT, kind, f"n{i}") for i in range(quota.limit - 1)])
    quotas.entities(db, ACCOUNT, kind)
    db.execute(row, (ACCOUNT, kind, "last"))
    with pytest.raises(LimitExceeded, match=f"^Cannot exceed quota for {quota.called}: {quota.limit}$"):
        quotas.entities(db, ACCOUNT, kind)
    quotas.entities(db, "111111111111", kind)


def test_policies_are_limited(db):
    row = "INSERT INTO iam_policies VALUES (?, ?, '/', 'I', ?, '', 0, 0, 1, 1)"
    db.executemany(row, [(ACCOUNT, f"n{i}", f"a{i}") for i in range(1500)])
    with pytest.raises(LimitExceeded, match=r"^Cannot exceed quota for PoliciesPerAccount: 1500$"):
        quotas.policies(db, ACCOUNT)
