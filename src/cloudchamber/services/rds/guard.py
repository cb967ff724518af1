# SPDX-License-Identifier: Apache-2.0
"""Who may use a DB instance: security groups, membership of ``rds_iam``, tokens, ``rds-db:connect``."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import AccessDenied
from cloudchamber.contract.operation import Need
from cloudchamber.services.rds import names, tables, tokens
from cloudchamber.services.rds.control import Control, SqlError, literal
from cloudchamber.services.rds.front import Caller, Refused
from cloudchamber.services.rds.observe import Session
from cloudchamber.track.track import Segment, Trace, segment_id

if TYPE_CHECKING:
    from cloudchamber.contract.call import Doors
    from cloudchamber.services.rds.engine import Engine
    from cloudchamber.services.rds.messages import Start

_MEMBER = (
    "SELECT r.rolsuper, {test} FROM pg_catalog.pg_roles r, pg_catalog.pg_roles g "
    "WHERE g.rolname = 'rds_iam' AND r.rolname = {user}"
)
# Why not MEMBER: rds_superuser's ADMIN OPTION on rds_iam is a membership that grants nothing.
_TEST_16 = "pg_has_role(r.oid, g.oid, 'USAGE') OR pg_has_role(r.oid, g.oid, 'SET')"
_TEST = "pg_has_role(r.oid, g.oid, 'MEMBER')"
_REFUSALS_A_MINUTE = 30
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.@-]*")
_AGREED_MAX = 1000


class Guard:
    """The `Gate` of one DB instance."""

    needs_tls = True

    def __init__(self, doors: Doors, engine: Engine, resource_id: str) -> None:
        self._doors = doors
        self._engine = engine
        self._id = resource_id
        self._control: Control | None = None
        self._asking = asyncio.Lock()
        self._minute = 0
        self._refusals = 0
        self._agreed: dict[str, bool] = {}

    def _row(self) -> tables.Instance:
        row = self._doors.database.read(lambda db: tables.by_id(db, self._id))
        if row is None:
            raise Refused("57P03", "the DB instance is being deleted")
        return row

    def may_connect(self, caller: Caller) -> tuple[bool, str]:
        """What the security groups say. Connections from this machine itself also pass if the instance is public."""
        row = self._row()
        if not caller.instance_id and row.public:
            return True, "publicly accessible"
        reach: Any = getattr(self._doors.parts.get("ec2"), "may_reach", None)
        if reach is None:
            return False, "there is no EC2 to ask about security groups"
        allowed, why = reach(caller.instance_id or caller.peer_ip, row.groups, row.port)
        return bool(allowed), str(why)

    async def uses_iam(self, user: str) -> bool:
        """Whether `user` is a member of ``rds_iam``; asked anew each time, so that GRANT acts at once.

        Raises:
            Refused: superusers are ours only. OSError: the server does not answer.
        """
        test = _TEST_16 if int(self._engine.version.split(".")[0]) >= 16 else _TEST
        sql = _MEMBER.format(test=test, user=literal(user))
        async with self._asking:
            rows: list[tuple[str | None, ...]] = []
            for last in (False, True):
                try:
                    if self._control is None:
                        self._control = await self._engine.control(self._id)
                    rows = await self._control.query(sql)
                    break
                except SqlError as error:
                    raise Refused("28000", f'authentication failed for user "{user}"', str(error)) from error
                except (OSError, EOFError):
                    await self.close()
                    if last:
                        raise ConnectionRefusedError("the server does not answer") from None
        if rows and rows[0][0] == "t":
            raise Refused("28000", f'role "{user}" is reserved')
        return bool(rows) and rows[0][1] == "t"

    def authenticate(self, start: Start, password: str, caller: Caller) -> Session:
        """Verify the token and ask IAM.

        Raises:
            Refused: the client sees what RDS shows it; the reason is for the owner.
        """
        row = self._row()
        seen = f'PAM authentication failed for user "{start.user}"'
        if not row.iam:
            raise Refused("28000", seen, "IAM database authentication is not enabled for this DB instance")
        doors = self._doors
        try:
            found = tokens.verify(
                password, start.user, {f"{row.address}:{row.port}"}, row.region, doors.clock.now(), doors.identities
            )
        except tokens.TokenRefused as refused:
            raise Refused("28000", seen, str(refused)) from refused
        need = Need("rds-db:connect", names.user_arn(row.account, row.region, row.resource_id, start.user))
        try:
            decision = doors.parts["front"].permit(
                found.principal, need, None, service="rds", name=f"connect {start.user}@{row.name}", peer=caller.peer_ip
            )
        except AccessDenied as denied:
            raise Refused("28000", seen, denied.message, recorded=True) from denied
        return Session(row.arn, start.user, start.database, found.principal.arn, (decision,))

    async def agree(self, user: str, iam: bool) -> None:
        """A line of its own for `user` in ``pg_hba.conf``.

        Raises:
            Refused: the name cannot be written there, or there are too many.
        """
        if not _PLAIN_NAME.fullmatch(user) or (user not in self._agreed and len(self._agreed) >= _AGREED_MAX):
            raise Refused("28000", f'authentication failed for user "{user}"', "no line in pg_hba.conf for such a name")
        async with self._asking:
            self._agreed[user] = iam
            await self._engine.admit(self._id, self._agreed)

    def plain(self, start: Start) -> Session:
        """A password user's session: PostgreSQL checks the password."""
        return Session(self._row().arn, start.user, start.database)

    def refused(self, user: str, caller: Caller, reason: str, *, recorded: bool = False) -> None:
        """A segment and an event about a refused connection; at most some a minute."""
        now = self._doors.clock.now().timestamp()
        if int(now // 60) != self._minute:
            self._minute, self._refusals = int(now // 60), 0
        self._refusals += 1
        row = self._doors.database.read(lambda db: tables.by_id(db, self._id))
        if row is None or self._refusals > _REFUSALS_A_MINUTE:
            return
        who = caller.instance_id or caller.peer_ip
        if not recorded:
            segment = Segment(
                Trace.begin(int(now)).track_id, segment_id(), "", "rds", f"connect {user or '?'}@{row.name}", now, now,
                status=403, error="connection refused", resource=row.arn,
            )  # fmt: skip
            segment.notes.update(reason=reason[:1000], source=who)
            self._doors.recorder.record(segment)
        task = asyncio.get_running_loop().create_task(self._write(row, now, f"Connection from {who} refused: {reason}"))
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)

    async def close(self) -> None:
        """Let go of the server."""
        if self._control is not None:
            await self._control.close()
            self._control = None

    async def _write(self, row: tables.Instance, now: float, message: str) -> None:
        await self._doors.database.write(lambda tx: tables.happened(tx, row, now, "security", message))


_tasks: set[asyncio.Task[None]] = set()
