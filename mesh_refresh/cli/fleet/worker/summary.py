"""What a worker says of itself as a whole: with what it begins, and how its exchanges ended. Pure."""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta

from attrs import define, field, fields

from mesh_refresh.cli.fleet.support.tables import format_span
from mesh_refresh.keeper import Policy
from mesh_refresh.observing import ExchangeEnded, Observation


def describe_policy(policy: Policy) -> str | None:
    """The fields of `policy` that differ from the defaults, with their values; None: it is the default one."""
    default = Policy()
    values = ((it.name, getattr(policy, it.name)) for it in fields(Policy))
    changed = [f"{name}={_brief(value)}" for name, value in values if value != getattr(default, name)]
    return ", ".join(changed) or None


def _brief(value: object) -> str:
    return f"{value.total_seconds():g}s" if isinstance(value, timedelta) else str(value)


@define
class ExchangeCounts:
    """Counts the exchanges of a process by their outcome. An observer of its keeper; times are in seconds."""

    began: float
    """When the process began, by a clock that never goes back."""
    all: Counter[str] = field(factory=Counter)
    _told: Counter[str] = field(factory=Counter)
    _told_at: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._told_at = self.began

    def observe(self, told: Observation, /) -> None:
        """See `Observer`."""
        if isinstance(told, ExchangeEnded):
            self.all[told.outcome] += 1

    def sum_up(self, now: float) -> tuple[str, Mapping[str, int]] | None:
        """A sentence on the exchanges that have ended since the last call, and their numbers. None: there is none."""
        new, seconds = self.all - self._told, now - self._told_at
        self._told, self._told_at = Counter(self.all), now
        return (f"exchanges of the last {_span(seconds)}", _by_number(new)) if new else None

    def sum_up_all(self, now: float) -> tuple[str, Mapping[str, int]]:
        """The same of all exchanges, also where there is none."""
        what = "exchanges" if self.all else "no exchange"
        return f"{what} in the {_span(now - self.began)} of this run", _by_number(self.all)


def _span(seconds: float) -> str:
    return format_span(timedelta(seconds=round(seconds)))


def _by_number(counts: Counter[str]) -> dict[str, int]:
    return dict(counts.most_common())
