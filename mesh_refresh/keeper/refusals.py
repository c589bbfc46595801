"""When refusals are the fault of a broker, or of Mesh, and not of the accounts that were refused. Pure."""

from collections.abc import Container, Iterator
from datetime import datetime

from attrs import define, field

from mesh_refresh.keeper.policy import Policy

Scope = str | None
"""A broker; None: all of them."""

_MOST = 1_000
"""Logins that are remembered for each broker."""


@define(eq=False)
class _Window:
    """The logins of one broker that were answered lately, the latest last, and how."""

    answers: dict[str, tuple[float, bool]] = field(factory=dict)
    refused: int = 0
    """How many of them were refused when they were answered last."""
    refused_last: float = 0.0
    trusted_until: float = 0.0
    """Refusals are believed until then, because one login of many was not refused, or because they have gone on."""
    standing: dict[str, None] = field(factory=dict)
    """What was refused lately, and has not succeeded since: the latest last."""
    forgiven_until: datetime | None = None

    def add(self, login_id: str, now: float, *, refused: bool) -> None:
        self._forget(login_id)
        self.answers[login_id] = (now, refused)
        self.refused += refused

    def shrink(self, oldest: float, most: int) -> None:
        while self.answers:
            first = next(iter(self.answers))
            if self.answers[first][0] > oldest and len(self.answers) <= most:
                return
            self._forget(first)

    def _forget(self, login_id: str) -> None:
        _, refused = self.answers.pop(login_id, (0.0, False))
        self.refused -= refused


class Refusals:
    """Counts distinct logins, by how they were answered last."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._windows: dict[str, _Window] = {}

    def refused(self, broker: str, login_id: str, now: float, name: str) -> None:
        """A login of `broker` was refused: the account of that name, which is another once the person logs in anew."""
        window = self._answered(broker, login_id, now, refused=True)
        if now - window.refused_last > self._policy.refusal_window.total_seconds():
            window.trusted_until = 0.0  # what comes after a pause is another fault
            window.standing.clear()
        window.refused_last = now
        window.standing.pop(name, None)
        window.standing[name] = None
        if len(window.standing) > _MOST:
            del window.standing[next(iter(window.standing))]

    def succeeded(self, broker: str, login_id: str, now: float, at: datetime, name: str) -> bool:
        """A login of `broker` was not refused. Whether it was before, so that refusals are not to be believed."""
        window = self._answered(broker, login_id, now, refused=False)
        if name not in window.standing:
            return False
        del window.standing[name]
        if now < window.trusted_until:
            window.trusted_until, window.forgiven_until = 0.0, at
        return True

    def _answered(self, broker: str, login_id: str, now: float, *, refused: bool) -> _Window:
        window = self._windows.setdefault(broker, _Window())
        window.add(login_id, now, refused=refused)
        oldest = now - self._policy.refusal_window.total_seconds()
        window.shrink(oldest, max(_MOST, 4 * self._policy.refusal_logins))
        return window

    def too_many(self, broker: str, now: float, *, except_for: Container[Scope]) -> Iterator[Scope]:
        """Whose fault the refusals are, after one of `broker`: the broker's, or (they are of several) everybody's.

        Those that are held back already count no more. Nothing, where the accounts are to blame.
        """
        window = self._windows[broker]
        if now < window.trusted_until:
            return
        if self._enough([window]):
            yield broker
            return
        others = [it for name, it in self._windows.items() if name not in except_for]
        if None not in except_for and sum(1 for it in others if it.refused) > 1 and self._enough(others):
            yield None

    def forgiven_until(self, broker: str) -> datetime | None:
        """Refusals of `broker` up to then were nobody's fault."""
        window = self._windows.get(broker)
        return None if window is None else window.forgiven_until

    def begin_anew(self, scope: Scope, now: float, at: datetime, *, trust: bool) -> None:
        """Refusals of this broker (of all) count from now on, those before do not.

        With `trust`, all of them are believed for a while, unless they cease, or one turns out to be wrong.
        """
        for name, window in self._windows.items():
            if scope in (None, name):
                window.trusted_until = now + self._policy.refusal_trust.total_seconds() if trust else 0.0
                window.forgiven_until = at
                window.answers.clear()
                window.refused = 0

    def _enough(self, windows: list[_Window]) -> bool:
        refused = sum(window.refused for window in windows)
        if refused < self._policy.refusal_logins:
            return False
        return refused >= self._policy.refusal_share * sum(len(window.answers) for window in windows)
