"""When many failures of one kind are the fault of a broker, or of Mesh, and not of the accounts. Pure.

There are two kinds: refusals, and requests that are not accepted (403, 404, 451, an odd 400). See
docs/decisions/breakers.md.
"""

from collections.abc import Container
from datetime import datetime
from typing import Generic, TypeVar

from attrs import define, field

from mesh_refresh.keeper.policy import Policy

Scope = str | None
"""A broker; None: all of them."""

_Note = TypeVar("_Note")

_MOST = 1_000
"""Logins that are remembered for each broker."""


@define(eq=False)
class _Answers(Generic[_Note]):
    """The logins of one broker that were answered lately, the latest last, and how."""

    answers: dict[str, tuple[float, bool]] = field(factory=dict)
    failed: int = 0
    """How many of them had failed when they were answered last."""
    failed_last: float = 0.0
    trusted_until: float = 0.0
    """Until then failures are believed: one login of many did not fail, or they have gone on for long."""
    standing: dict[str, _Note] = field(factory=dict)
    """The accounts that failed lately, and have not succeeded since: the latest last."""
    forgiven_until: datetime | None = None

    def add(self, login_id: str, now: float, *, failed: bool) -> None:
        self._forget(login_id)
        self.answers[login_id] = (now, failed)
        self.failed += failed

    def shrink(self, oldest: float, most: int) -> None:
        while self.answers:
            first = next(iter(self.answers))
            if self.answers[first][0] > oldest and len(self.answers) <= most:
                return
            self._forget(first)

    def _forget(self, login_id: str) -> None:
        _, failed = self.answers.pop(login_id, (0.0, False))
        self.failed -= failed


class FailureWindow(Generic[_Note]):
    """Counts distinct logins by their last answer, within `Policy.refusal_window`. Each failure carries a note."""

    def __init__(self, policy: Policy, logins: int) -> None:
        self._policy, self._least = policy, logins
        self._brokers: dict[str, _Answers[_Note]] = {}

    def failed(self, broker: str, login_id: str, now: float, name: str, note: _Note) -> None:
        """A login of `broker` failed: the account of that name, which is another once the person logs in anew."""
        answers = self._answered(broker, login_id, now, failed=True)
        if now - answers.failed_last > self._policy.refusal_window.total_seconds():
            answers.trusted_until = 0.0  # a failure after a pause is another fault
            answers.standing.clear()
        answers.failed_last = now
        answers.standing.pop(name, None)
        answers.standing[name] = note
        if len(answers.standing) > _MOST:
            del answers.standing[next(iter(answers.standing))]

    def note_of(self, broker: str, name: str) -> _Note | None:
        """The note of the account's last failure, unless it has succeeded since."""
        answers = self._brokers.get(broker)
        return None if answers is None else answers.standing.get(name)

    def answered(self, broker: str, login_id: str, now: float) -> None:
        """A login of `broker` was answered: neither a success, nor a failure of this kind."""
        self._answered(broker, login_id, now, failed=False)

    def succeeded(self, broker: str, login_id: str, now: float, at: datetime, name: str) -> bool:
        """A login of `broker` succeeded. Returns whether its account had failed: then failures are not believed."""
        answers = self._answered(broker, login_id, now, failed=False)
        if name not in answers.standing:
            return False
        del answers.standing[name]
        if now < answers.trusted_until:
            answers.trusted_until, answers.forgiven_until = 0.0, at
        return True

    def scopes_to_open(self, broker: str, now: float, *, except_for: Container[Scope]) -> tuple[Scope, ...]:
        """The scopes to open after a failure of `broker`: the broker's own or, where several brokers fail, all.

        Scopes that are open already, in `except_for`, are skipped. Empty: the accounts themselves are at fault.
        """
        answers = self._brokers[broker]
        if now < answers.trusted_until:
            return ()
        if self._enough([answers]):
            return (broker,)
        others = [found for name, found in self._brokers.items() if name not in except_for]
        if None not in except_for and sum(1 for found in others if found.failed) > 1 and self._enough(others):
            return (None,)
        return ()

    def forgiven_until(self, broker: str) -> datetime | None:
        """Failures of `broker` up to then were not the accounts' fault."""
        answers = self._brokers.get(broker)
        return None if answers is None else answers.forgiven_until

    def begin_anew(self, scope: Scope, now: float, at: datetime, *, trust: bool) -> None:
        """Failures of this broker (of all) count from now on, those before do not.

        With `trust`, all of them are believed for a while, unless they cease, or one turns out to be wrong.
        """
        for answers in self._of(scope):
            answers.trusted_until = now + self._policy.refusal_trust.total_seconds() if trust else 0.0
            answers.forgiven_until = at
            answers.answers.clear()
            answers.failed = 0

    def notes(self, scope: Scope) -> tuple[_Note, ...]:
        """The notes of this broker's (of all) accounts that have failed and not succeeded since."""
        return tuple(note for answers in self._of(scope) for note in answers.standing.values())

    def _of(self, scope: Scope) -> list[_Answers[_Note]]:
        return [answers for name, answers in self._brokers.items() if scope in (None, name)]

    def _answered(self, broker: str, login_id: str, now: float, *, failed: bool) -> _Answers[_Note]:
        answers = self._brokers.setdefault(broker, _Answers())
        answers.add(login_id, now, failed=failed)
        oldest = now - self._policy.refusal_window.total_seconds()
        answers.shrink(oldest, max(_MOST, 4 * self._least))
        return answers

    def _enough(self, brokers: list[_Answers[_Note]]) -> bool:
        failed = sum(answers.failed for answers in brokers)
        if failed < self._least:
            return False
        return failed >= self._policy.refusal_share * sum(len(answers.answers) for answers in brokers)
