"""Pages and counts. They have a connection of their own, so that a long one delays no write."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import Any

from attrs import evolve

from mesh_refresh.stores.checks import check_text
from mesh_refresh.stores.row import Count, Page, Row
from mesh_refresh.stores.sqlite.connection.session import SqliteSession
from mesh_refresh.stores.sqlite.queries import queries
from mesh_refresh.stores.sqlite.values import EVER, microseconds, moment, row
from mesh_refresh.stores.states import states_of, text_of

_SQL = queries("scans.sql")
_FEW = 5_000
"""So many changes are sorted by id. Where there are more, walking along the ids soon meets enough of them."""
_STRETCH = 20_000
_HOUR = 3_600_000_000
"""Microseconds."""

Asked = dict[str, Any]


def asked_for(page: Page) -> Asked:
    """A page as parameters. Raises `InvalidRequest` for text or a time that no store can keep."""
    check_text(page.after, page.broker)
    text_of(page.states or frozenset())
    return {
        "start": page.after or "",
        "after": page.after,
        "broker": page.broker,
        "since": EVER if page.changed_since is None else microseconds(page.changed_since),
        "limit": max(0, page.limit),
    }


def rows(session: SqliteSession, page: Page, asked: Asked) -> list[Row]:
    """See `Store.rows`."""
    if page.states is not None:
        sets = [states for (states,) in session.connection.execute(_SQL["states"]) if states_of(states) & page.states]
        found = [_rows(session, "by_states", {**asked, "states": states}) for states in sets]
    elif page.changed_since is not None and (few := _with_few_changes(session, asked)) is not None:
        found = [_rows(session, "by_change", {**asked, "broker": broker}) for broker in few]
    else:
        found = [_rows(session, "by_key" if page.broker is None else "by_broker", asked)]
    return list(islice(merge(*found, key=attrgetter("login_id")), asked["limit"]))


def counts(session: SqliteSession, now: datetime) -> list[Count]:
    """See `Store.counts`."""
    asked = {"now": microseconds(now), "at": session.clock.now(), "boot": session.clock.boot}
    found: dict[tuple[str, frozenset[str]], Count] = {}
    with session.snapshot() as execute:
        (last,) = execute(_SQL["last"]).fetchone()
        for start in range(0, last or 0, _STRETCH):
            for values in execute(_SQL["counts"], {**asked, "from": start, "to": start + _STRETCH}):
                count = _count(values)
                key = count.broker, count.states
                found[key] = _sum(found[key], count) if key in found else count
    return list(found.values())


def due_by_hour(session: SqliteSession, now: int, hours: int) -> list[int]:
    """See `Store.due_by_hour`."""
    found = [0] * hours
    with session.snapshot() as execute:
        for (broker,) in execute(_SQL["brokers"]).fetchall():
            for hour in range(hours):
                asked = {"broker": broker, "after": now + hour * _HOUR, "until": now + (hour + 1) * _HOUR}
                found[hour] += execute(_SQL["due_between"], asked).fetchone()[0]
    return found


def damage(session: SqliteSession) -> list[str]:
    """See `SqliteStore.find_damage`."""
    return [text for (text,) in session.connection.execute("PRAGMA integrity_check") if text != "ok"]


def _count(values: tuple[Any, ...]) -> Count:
    broker, states, logins, expired, due, earliest, leased = values
    return Count(broker, states_of(states), logins, expired, due, moment(earliest), leased)


def _sum(one: Count, other: Count) -> Count:
    sums = {name: getattr(one, name) + getattr(other, name) for name in ("logins", "expired", "due", "leased")}
    earliest = [count.earliest_due_at for count in (one, other) if count.earliest_due_at is not None]
    return evolve(one, earliest_due_at=min(earliest, default=None), **sums)


def _rows(session: SqliteSession, query: str, asked: Asked) -> Iterator[Row]:
    return map(row, session.connection.execute(_SQL[query], asked).fetchall())


def _with_few_changes(session: SqliteSession, asked: Asked) -> list[str] | None:
    """The brokers with changes, or None where so much was changed that a walk along the ids is shorter."""
    found, left = [], _FEW
    for broker in _brokers(session, asked["broker"]):
        (changes,) = session.connection.execute(
            _SQL["changes"], {"broker": broker, "since": asked["since"], "most": left}
        ).fetchone()
        left -= changes
        if left <= 0:
            return None
        if changes:
            found.append(broker)
    return found


def _brokers(session: SqliteSession, only: str | None) -> Iterable[str]:
    if only is not None:
        return [only]
    return [broker for (broker,) in session.connection.execute(_SQL["brokers"]).fetchall()]
