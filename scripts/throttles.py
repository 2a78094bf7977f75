"""What makes a run wait: replicas that lag, too much WAL, dead rows, a busy server. Each says why, in one sentence.

What cannot be read counts as not healthy: the run waits, and says which right is missing and how to switch it off.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import LiteralString

import psycopg
from psycopg import sql

from scripts import faults
from scripts.batches import Leaf
from scripts.connection import Session, transaction
from scripts.control import Throttle
from scripts.faults import Fault
from scripts.pace import Pace

#: How often the server is asked.
SECONDS = 1.0
#: A vacuum that did not help is not tried again sooner.
VACUUM_SECONDS = 60.0
_MB = 1024 * 1024
_POSITION: LiteralString = "select pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), '0/0')::bigint"


def chosen(pace: Pace, leaves: Sequence[Leaf], own: Callable[[], Collection[int]]) -> list[Throttle]:
    """The throttles that are switched on. `own` gives the process numbers of the run's sessions."""
    found: list[Throttle] = []
    if pace.max_lag:
        found.append(_Readable("replication lag", "--max-lag", _Lag(pace.max_lag)))
    if pace.max_wal_rate:
        found.append(_Readable("WAL rate", "--max-wal-rate", _WalRate(pace.max_wal_rate)))
    if pace.max_dead:
        found.append(_Readable("dead rows", "--max-dead", _DeadRows(pace.max_dead, leaves)))
    if pace.max_sessions:
        found.append(_Readable("active sessions", "--max-sessions", _Sessions(pace.max_sessions, own)))
    return found


class _UnreadableError(Exception):
    """What a throttle watches cannot be seen; the text says what is missing."""


class _Readable:
    """A throttle that is asked at most once a second, and makes the run wait when it cannot be read."""

    def __init__(self, kind: str, option: str, look: Callable[[Session], str | None]) -> None:
        self.kind = kind
        self._option = option
        self._look = look
        self._looked = 0.0
        self._answer: str | None = None

    def look(self, session: Session) -> str | None:
        """See control.Throttle."""
        if time.monotonic() - self._looked >= SECONDS:
            try:
                self._answer = self._look(session)
            except _UnreadableError as missing:
                self._answer = f"the {self.kind} cannot be read: {missing}, or switch this off with {self._option} off"
            except psycopg.Error as error:
                if session.broken or session.closed or faults.classify(error) is Fault.LOST:
                    raise
                said = faults.describe(error)
                self._answer = f"the {self.kind} cannot be read ({said}); {self._option} off switches this off"
            self._looked = time.monotonic()
        return self._answer


def _grant(session: Session) -> str:
    """What gives this role the right to see other sessions and replicas."""
    role = sql.Identifier(session.settings.get("role") or session.info.user).as_string(session)
    return f"let an administrator run `grant pg_monitor to {role};`"


class _Lag:
    """Replicas and replication slots, by their position in the WAL and the time since when the server is past it.

    `replay_lag` alone does not grow while a replica stands still, and a slot has none at all. So the server's own
    position is remembered at each look: who has not reached the one of ten seconds ago is ten seconds behind.
    """

    def __init__(self, most: float) -> None:
        self._most = most
        self._past: deque[tuple[float, int]] = deque()

    def __call__(self, session: Session) -> str | None:
        with transaction(session):
            followers = session.execute(
                """
                select
                    'replica ' || coalesce(nullif(r.application_name, ''), host(r.client_addr), r.pid::text),
                    pg_catalog.pg_wal_lsn_diff(coalesce(r.replay_lsn, r.write_lsn, r.sent_lsn), '0/0')::bigint,
                    -- Of one that replays nothing, such as an archiver, it grows for ever.
                    case when r.replay_lsn is not null then extract(epoch from r.replay_lag)::float end,
                    r.state is null
                from pg_catalog.pg_stat_replication as r
                where r.state is distinct from 'backup'

                union all

                select
                    'replication slot ' || s.slot_name || case when s.active then '' else ' (nobody reads it)' end,
                    pg_catalog.pg_wal_lsn_diff(coalesce(s.confirmed_flush_lsn, s.restart_lsn), '0/0')::bigint,
                    null,
                    false
                from pg_catalog.pg_replication_slots as s
                -- One that the server has given up keeps nothing any more. Of one that is read, the reader tells more:
                -- a slot moves on by what is flushed, which an archiver does once in a WAL file.
                where
                    s.restart_lsn is not null
                    and s.wal_status is distinct from 'lost'
                    and not exists (select 1 from pg_catalog.pg_stat_replication as r where r.pid = s.active_pid)
                """
            ).fetchall()
            written = session.execute(_POSITION).fetchone()
        assert written is not None
        now = time.monotonic()
        if not followers:
            self._past.clear()
            return None
        if any(unseen for _, _, _, unseen in followers):
            raise _UnreadableError(_grant(session))
        self._past.append((now, int(written[0])))
        reached = min((position for _, position, _, _ in followers if position is not None), default=0)
        while len(self._past) > 1 and self._past[1][1] <= reached:
            self._past.popleft()
        worst, name = max((self._behind(now, position, lag), name) for name, position, lag, _ in followers)
        return f"{name} is {worst:.0f} s behind, more than {self._most:g} s" if worst > self._most else None

    def _behind(self, now: float, position: int | None, lag: float | None) -> float:
        """Seconds since the server passed the position that a follower has reached."""
        if position is None:
            return 0.0
        passed = next((at for at, written in self._past if written > position), now)
        return max(now - passed, lag or 0.0)


class _WalRate:
    """WAL that the whole server writes: what is beyond the allowed rate must be waited off."""

    def __init__(self, most: float) -> None:
        self._most = most * _MB
        self._last: tuple[float, int] | None = None
        self._owed = 0.0  # bytes

    def __call__(self, session: Session) -> str | None:
        row = session.execute(_POSITION).fetchone()
        assert row is not None
        now, position = time.monotonic(), int(row[0])
        rate = 0.0
        if self._last is not None:
            seconds, written = now - self._last[0], position - self._last[1]
            rate = written / max(seconds, 1e-6)
            self._owed = max(0.0, self._owed + written - self._most * seconds)
        self._last = (now, position)
        if not self._owed:
            return None
        return f"the server wrote {rate / _MB:.1f} MB of WAL a second, and may write {self._most / _MB:g} on average"


class _DeadRows:
    """Dead rows of the table, by the server's own count; they are vacuumed away where the role may do that."""

    def __init__(self, most: float, leaves: Sequence[Leaf]) -> None:
        self._most = most
        self._leaves = {leaf.oid: leaf for leaf in leaves}
        self._vacuumed: dict[int, float] = {}
        self._announced = False

    def __call__(self, session: Session) -> str | None:
        row = session.execute("select current_setting('track_counts')").fetchone()
        if row != ("on",):
            raise _UnreadableError("track_counts is off, so that the server does not count; set it to on")
        share, oid = self._worst(session)
        problem: str | None = None
        if share > self._most and time.monotonic() - self._vacuumed.get(oid, -VACUUM_SECONDS) >= VACUUM_SECONDS:
            # Said before it is done, since it may take long.
            self._announced = not self._announced
            if self._announced:
                return f"{share:.0%} of the table's rows are dead, more than {self._most:.0%}: vacuum"
            problem = self._vacuum(session, self._leaves[oid])
            self._vacuumed[oid] = time.monotonic()
            share, _ = self._worst(session)
        if share <= self._most:
            return None
        problem = problem or "vacuum cannot remove them while an old transaction or replica may still see them"
        return f"{share:.0%} of the table's rows are dead, more than {self._most:.0%}; {problem}"

    def _worst(self, session: Session) -> tuple[float, int]:
        """Share of dead rows, and the oid, of the leaf that has the largest."""
        found = session.execute(
            "select s.n_dead_tup::float / greatest(s.n_live_tup + s.n_dead_tup, 1), s.relid::bigint "
            "from pg_catalog.pg_stat_all_tables as s where s.relid = any(%s::oid[]) order by 1 desc limit 1",
            [list(self._leaves)],
        ).fetchone()
        return found or (0.0, 0)

    def _vacuum(self, session: Session, leaf: Leaf) -> str | None:
        """Vacuum a leaf; returns why that was not possible."""
        name = sql.Identifier(leaf.schema, leaf.name)
        # Who may not is only warned by the server, so it is asked before.
        row = session.execute(
            "select pg_catalog.pg_has_role(c.relowner, 'usage') or case "
            "when current_setting('server_version_num')::integer >= 170000 "
            "then pg_catalog.has_table_privilege(c.oid, 'maintain') else false end "
            "from pg_catalog.pg_class as c where c.oid = %s",
            [leaf.oid],
        ).fetchone()
        if not row or not row[0]:
            return f"only its owner may vacuum {name.as_string(session)}, so that is left to autovacuum"
        try:
            # Without the truncation, which would lock everybody out for a moment.
            if not session.transaction_pooling:
                session.execute("set statement_timeout = 0")
            session.execute(sql.SQL("vacuum (truncate false) {}").format(name))
        except psycopg.errors.LockNotAvailable:
            return "somebody else (autovacuum, mostly) is at it"
        finally:
            if not session.transaction_pooling and not session.closed:
                with suppress(psycopg.Error):
                    session.apply_settings(local=False)
        return None


class _Sessions:
    """Sessions of clients that are working right now, besides the run's own."""

    def __init__(self, most: int, own: Callable[[], Collection[int]]) -> None:
        self._most = most
        self._own = own

    def __call__(self, session: Session) -> str | None:
        row = session.execute(
            """
            select
                pg_catalog.pg_has_role('pg_read_all_stats', 'usage'),
                count(*) filter (
                    where a.backend_type = 'client backend' and a.state in ('active', 'fastpath function call')
                    and a.pid <> all(%s) and a.pid <> pg_catalog.pg_backend_pid()
                )
            from pg_catalog.pg_stat_activity as a
            """,
            [list(self._own())],
        ).fetchone()
        assert row is not None
        if not row[0]:
            raise _UnreadableError(_grant(session))
        return f"{row[1]} sessions are active, more than {self._most}" if row[1] > self._most else None
