"""What processes tell each other by the store, as values and as sealed text. Pure.

See docs/decisions/the-contract-of-stores.md.
"""

from collections import deque
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import TypeVar

from attrs import astuple, define, evolve, frozen

from mesh_refresh import codec
from mesh_refresh.keeper.status import totals
from mesh_refresh.masking import MaskedStr
from mesh_refresh.observing import BrokerFigures, ExchangeEnded, Figures, KeeperState
from mesh_refresh.stores import Count, NoticeCounts, ProcessReport, StoredFigures, StoreError
from mesh_refresh.stores.sealing import Sealing
from mesh_refresh.stores.store import ALL_BROKERS

_T = TypeVar("_T")

_MINUTE = timedelta(minutes=1)
_SILENT_AFTER = timedelta(minutes=1)
_FIGURES = "figures"


@frozen
class Minute:
    """The exchanges of a process that ended within one minute."""

    at: datetime
    """When the minute began."""
    refreshed: int = 0
    asked: int = 0
    """Exchanges that led to a question for a code."""
    failed: int = 0
    latest: float = 0.0
    """The most seconds that one of them had been due."""


@frozen
class _Told:
    version: str
    state: KeeperState | None
    hour: tuple[Minute, ...]
    host: str | None = None
    pid: int | None = None
    since: datetime | None = None


@frozen
class Process:
    """A process of the fleet, as it told of itself last."""

    process: str
    """A name that no other process has."""
    role: str
    at: datetime
    """When it told that, by its wall clock."""
    version: str | None = None
    """Its version of mesh_refresh. None: what it told does not open with the keys at hand, or is of another version."""
    state: KeeperState | None = None
    hour: tuple[Minute, ...] = ()
    """The last hour by minutes, the oldest first. Minutes without an exchange are left out."""
    host: str | None = None
    """The name of its machine, or of its container."""
    pid: int | None = None
    """Its process id there."""
    since: datetime | None = None
    """When its keeper was entered."""

    @property
    def has_loop(self) -> bool:
        """Whether it refreshes what is due, and not for callers only. False where what it told does not open."""
        return self.state is not None and self.state.last_round is not None

    def is_silent(self, now: datetime) -> bool:
        """Whether it has told nothing for a minute. A process that ends in order is not listed any more."""
        return now - self.at >= _SILENT_AFTER


@define(eq=False)
class _Counting:
    """A `Minute` that goes on. Written to with each refresh, so it is not made anew each time."""

    at: datetime
    refreshed: int = 0
    asked: int = 0
    failed: int = 0
    latest: float = 0.0


class LastHour:
    """Counts the exchanges of the last hour by minutes."""

    def __init__(self) -> None:
        self._minutes: deque[_Counting] = deque(maxlen=60)

    def count(self, ended: ExchangeEnded, at: datetime) -> None:
        """One has ended."""
        if not self._minutes or not timedelta() <= at - self._minutes[-1].at < _MINUTE:
            self._minutes.append(_Counting(at.replace(second=0, microsecond=0)))
        minute = self._minutes[-1]
        match ended.outcome:
            case "refreshed":
                minute.refreshed += 1
            case "mfa_required":
                minute.asked += 1
            case _:
                minute.failed += 1
        if ended.late is not None and ended.late > minute.latest:
            minute.latest = ended.late

    def minutes(self, now: datetime) -> tuple[Minute, ...]:
        """Those of the hour before `now`."""
        return tuple(Minute(*astuple(minute)) for minute in self._minutes if now - minute.at < 60 * _MINUTE)


def report_of(cipher: Sealing, it: Process) -> ProcessReport:
    """What the process `it` writes about itself."""
    text = codec.write_value(_Told(it.version or "", it.state, it.hour, it.host, it.pid, it.since))
    return ProcessReport(it.process, it.role, it.at, cipher.seal(MaskedStr(text), _context_of(it.process)))


def process_of(cipher: Sealing, report: ProcessReport) -> Process:
    """What `report` says, or as much of it as can be read."""
    shown = Process(report.process, report.role, report.at)
    told = _opened(cipher, report.sealed, _context_of(report.process), _Told)
    if told is None:
        return shown
    read = {name: getattr(told, name) for name in ("version", "state", "hour", "host", "pid", "since")}
    return evolve(shown, **read)


def figures_of(
    counts: Iterable[Count],
    paused: Collection[str],
    notices: NoticeCounts | None,
    at: datetime,
    seconds: float,
    *,
    due_by_hour: Iterable[int] = (),
) -> Figures:
    """The fleet in numbers. `seconds`: how long counting took."""
    counts = list(counts)
    running = [] if ALL_BROKERS in paused else [count for count in counts if count.broker not in paused]
    earliest = min((count.earliest_due_at for count in running if count.earliest_due_at is not None), default=at)
    return Figures(
        at,
        seconds,
        {
            broker: BrokerFigures(**totals([count for count in counts if count.broker == broker]))
            for broker in sorted({count.broker for count in counts})
        },
        sum(count.leased for count in counts),
        sum(count.due for count in running),
        max(0.0, (at - earliest).total_seconds()),
        None if notices is None else notices.waiting,
        None if notices is None else notices.dead,
        None if notices is None else notices.oldest,
        tuple(due_by_hour),
    )


def seal_figures(cipher: Sealing, figures: Figures) -> StoredFigures:
    """The row of `figures`."""
    return StoredFigures(figures.at, cipher.seal(MaskedStr(codec.write_value(figures)), _FIGURES))


def open_figures(cipher: Sealing, stored: StoredFigures | None) -> Figures | None:
    """What was counted; None where nothing was, or it cannot be read."""
    return None if stored is None else _opened(cipher, stored.sealed, _FIGURES, Figures)


def _opened(cipher: Sealing, sealed: bytes, context: str, kind: type[_T]) -> _T | None:
    try:
        return codec.read_value(MaskedStr(cipher.open(sealed, context)), kind)
    except StoreError:
        return None


def _context_of(process: str) -> str:
    return f"process:{process}"
