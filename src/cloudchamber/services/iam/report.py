# SPDX-License-Identifier: Apache-2.0
"""The credential report: one line for each user, and for the root user, with the state of what they sign in with.

Source: IAM User Guide, "Generate credential reports for your AWS account".
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.iam import access_keys, credentials, logins, mfa, needs, passwords, tables
from cloudchamber.services.iam.errors import ReportExpired, ReportNotPresent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudchamber.contract.call import Call
    from cloudchamber.services.iam.tables import Entity
    from cloudchamber.store.database import Reader, Tx

GOOD_FOR_S = 4 * 3600
_KEY = ("active", "last_rotated", "last_used_date", "last_used_region", "last_used_service")
COLUMNS = (
    "user", "arn", "user_creation_time", "password_enabled", "password_last_used", "password_last_changed",
    "password_next_rotation", "mfa_active", *(f"access_key_1_{name}" for name in _KEY),
    *(f"access_key_2_{name}" for name in _KEY), "cert_1_active", "cert_1_last_rotated", "cert_2_active",
    "cert_2_last_rotated",
)  # fmt: skip
_NONE = "N/A"


@operation("GenerateCredentialReport", needs=needs.account("GenerateCredentialReport"))
async def generate_credential_report(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Write the report, unless there is one that is younger than four hours. Source: IAM API Reference,
    GenerateCredentialReport."""
    now = call.now.timestamp()

    def fresh(db: Reader) -> bool:
        row = db.execute("SELECT made FROM iam_reports WHERE account = ?", (call.account,)).fetchone()
        return row is not None and row[0] > now - GOOD_FOR_S

    if call.doors.database.read(fresh):
        return {"State": "COMPLETE"}
    # Why before the write: the record of tracks is read on this thread only
    content = call.doors.database.read(lambda db: _content(db, call))

    def change(tx: Tx) -> None:
        tx.execute(
            "INSERT INTO iam_reports VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET made = excluded.made, content = excluded.content",
            (call.account, now, content),
        )

    await call.doors.database.write(change)
    return {"State": "STARTED", "Description": "No report exists. Starting a new report generation task"}


@operation("GetCredentialReport", needs=needs.account("GetCredentialReport"))
async def get_credential_report(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The report as CSV. Source: IAM API Reference, GetCredentialReport.

    Raises:
        ReportNotPresent: none was made. ReportExpired: it is older than four hours.
    """
    row = call.doors.database.read(
        lambda db: db.execute("SELECT made, content FROM iam_reports WHERE account = ?", (call.account,)).fetchone()
    )
    if row is None:
        raise ReportNotPresent("No report is present. Use GenerateCredentialReport to make one.")
    if row[0] <= call.now.timestamp() - GOOD_FOR_S:
        raise ReportExpired("The report has expired. Use GenerateCredentialReport to make another one.")
    return {"Content": row[1].encode(), "ReportFormat": "text/csv", "GeneratedTime": tables.moment(row[0])}


def _content(db: Reader, call: Call) -> str:
    file = io.StringIO()
    lines = csv.writer(file, lineterminator="\n")
    lines.writerow(COLUMNS)
    lines.writerow(_root(db, call))
    for user in tables.listed(db, call.account, "user", "/"):
        lines.writerow(_user(db, call, user))
    return file.getvalue().rstrip("\n")


def _root(db: Reader, call: Call) -> Sequence[str]:
    """The root user, who has the access key that the account came with, perhaps a second one, and no password here."""
    born = access_keys.born(db, call)
    sql = "SELECT id, status, created FROM iam_keys WHERE account = ? AND user = ''"
    second = next((_key(call, *row) for row in db.execute(sql, (call.account,))), _NO_KEY)
    arn = f"arn:aws:iam::{call.account}:root"
    unknown = "not_supported"
    return (
        "<root_account>", arn, _time(born), unknown, "no_information", unknown, unknown,
        "false", *_key(call, arn, "Active", born), *second, *_NO_CERTIFICATE, *_NO_CERTIFICATE,
    )  # fmt: skip


def _user(db: Reader, call: Call, user: Entity) -> Sequence[str]:
    sql = "SELECT id, status, created FROM iam_keys WHERE account = ? AND user = ? ORDER BY created, rowid"
    keys = [_key(call, *row) for row in db.execute(sql, (user.account, user.name))]
    certificates = sorted(credentials.of_user(db, user.account, "signing", user.name), key=lambda one: one.created)
    shown = [(_word(one.status == "Active"), _time(one.created)) for one in certificates]
    return (
        user.name, user.arn, _time(user.created), *_password(db, user),
        _word(bool(mfa.of_user(db, user.account, user.name))),
        *(value for key in [*keys, _NO_KEY, _NO_KEY][:2] for value in key),
        *(value for one in [*shown, _NO_CERTIFICATE, _NO_CERTIFICATE][:2] for value in one),
    )  # fmt: skip


_NO_KEY = ("false", _NONE, _NONE, _NONE, _NONE)
_NO_CERTIFICATE = ("false", _NONE)


def _key(call: Call, who: str, status: str, created: float) -> tuple[str, ...]:
    """A key's five columns; `who` is its id, or the root user's ARN."""
    seen = call.doors.recorder.seen(who)
    used = (_NONE, _NONE, _NONE) if seen is None else (_time(seen.last), seen.region or call.region, seen.service)
    return (_word(status == "Active"), _time(created), *used)


def _password(db: Reader, user: Entity) -> tuple[str, ...]:
    """Enabled, last used, last changed, next rotation. Nothing here asks for a password, so none is ever used."""
    row = logins.row(db, user.account, user.name)
    if row is None:
        return ("false", _NONE, _NONE, _NONE)
    own = passwords.rules(db, user.account)
    days = own.MaxPasswordAge if own is not None else 0
    return ("true", "no_information", _time(row["changed"]), _time(row["changed"] + days * 86400) if days else _NONE)


def _word(yes: bool) -> str:
    return "true" if yes else "false"


def _time(epoch_s: float) -> str:
    return tables.moment(epoch_s).isoformat()
