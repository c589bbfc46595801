"""The record of every request that came, and the queue of faults that wait for requests."""

import warnings
from collections import Counter
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from attrs import define, field

from mesh_refresh.masking import masked_values


@define(eq=False)
class SentRequest:
    """One request as it came in."""

    number: int
    at: datetime
    body: Mapping[str, Any] = field(repr=masked_values)
    """Empty where it was no JSON object."""
    headers: Mapping[str, str] = field(repr=masked_values)
    """Names are found in any case."""
    broker: str | None
    login: str | None
    """Whose refresh token it carries; None for one that was never issued."""
    account: str | None
    """Where the token belongs to one account only."""
    fault: str | None = None
    """The name of the fault that met it."""
    outcome: str | None = None
    """What Mesh made of it (``succeeded``, ``badRequest``, ``reuse``, ...); None where Mesh never saw it."""
    status: int | None = None
    """The HTTP code of the reply; None where there was none."""
    done: bool = False

    @property
    def refresh_token(self) -> str | None:
        """The refresh token that it carries."""
        value = self.body.get("refreshToken")
        return value if isinstance(value, str) else None


@define(eq=False)
class Traffic:
    """All requests, and how many ran at once."""

    requests: list[SentRequest] = field(factory=list)
    exchanges: Counter[str] = field(factory=Counter)
    in_flight: int = 0
    max_in_flight: int = 0
    twice: list[SentRequest] = field(factory=list)
    _running: Counter[str] = field(factory=Counter)

    def enter(self, request: SentRequest) -> None:
        """`request` has arrived."""
        self.requests.append(request)
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        token = request.refresh_token
        if token is not None:
            if self._running[token]:
                self.twice.append(request)
            self._running[token] += 1

    def leave(self, request: SentRequest) -> None:
        """`request` is answered, or cut off."""
        request.done = True
        self.in_flight -= 1
        token = request.refresh_token
        if token is not None:
            self._running[token] -= 1
            if not self._running[token]:
                del self._running[token]


F = TypeVar("F")
"""A fault of the fake, or of an edge."""


@define(eq=False)
class Rule(Generic[F]):
    """A fault that waits for requests."""

    fault: F
    times: int | None
    """How many requests it still meets; None: all."""
    login: str | None
    broker: str | None
    met: int = 0
    """How many requests it has met."""

    def fits(self, login: str | None, broker: str | None) -> bool:
        """Whether it is meant for this request."""
        return self.login in (None, login) and self.broker in (None, broker)


QUEUES: "WeakSet[FaultQueue[Any]]" = WeakSet()
"""All that are in use."""


@define(eq=False)
class FaultQueue(Generic[F]):
    """Faults in the order in which they were asked for."""

    rules: list[Rule[F]] = field(factory=list)
    unused: list[Rule[F]] = field(factory=list)
    """Rules that were forgotten before they met any request, and that no warning has named yet."""

    def __attrs_post_init__(self) -> None:
        QUEUES.add(self)

    def add(self, rule: Rule[F]) -> None:
        """Put a fault at the end of the queue."""
        self.rules.append(rule)

    def forget(self, but: Collection[Rule[F]] = ()) -> None:
        """Take all rules but these out of the queue."""
        self.unused += [rule for rule in self.rules if rule not in but and not rule.met]
        self.rules = [rule for rule in self.rules if rule in but]

    def take_unused(self) -> list[Rule[F]]:
        """The forgotten rules that met no request. Each call returns only those that the call before did not."""
        found, self.unused = self.unused, []
        return found

    def take(self, login: str | None, broker: str | None) -> F | None:
        """The first fault that is meant for a request of this login and broker; it is used up by so much."""
        rule = next((rule for rule in self.rules if rule.fits(login, broker)), None)
        if rule is None:
            return None
        rule.met += 1
        if rule.times is not None:
            rule.times -= 1
            if rule.times <= 0:
                self.rules.remove(rule)
        return rule.fault


class UnusedFault(UserWarning):
    """A fault met no request. Under ``-W error`` it fails the test."""


def tell_unused(queue: FaultQueue[Any]) -> None:
    """Warn of every forgotten fault of `queue` that no request has met. Each fault is told once."""
    for rule in queue.take_unused():
        wanted = [part for part in (rule.login, rule.broker) if part is not None]
        of = f" of {' and '.join(wanted)}" if wanted else ""
        warnings.warn(f"The fault {rule.fault.name!r} met no request{of}.", UnusedFault, stacklevel=3)
