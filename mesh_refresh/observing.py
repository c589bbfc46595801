"""What a client and a keeper tell an `Observer`: values, never a secret, and never a login. See docs/metrics.md.

Brokers, faults and outcomes are text here, so that an observer needs nothing else of this package.
"""

import inspect
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Literal, Protocol

from attrs import field, frozen

from mesh_refresh.errors import InvalidRequest

_log = logging.getLogger("mesh_refresh")

_SILENT_FOR = 60.0
"""Seconds between two complaints about one observer."""

_names: dict[type, str] = {}
"""Of outcomes and errors, by their classes."""

AnsweredFrom = Literal["store", "refreshed", "failed"]
"""Where the answer of `Keeper.tokens` came from: it was stored, an exchange brought it, or there is none."""


@frozen
class ExchangeEnded:
    """An exchange with Mesh is over. Told in the context variables of the caller who began it."""

    broker: str
    outcome: str
    """``refreshed``, ``mfa_required``, or the class of the error, such as ``tokens_refused``."""
    seconds: float
    """From its begin to its outcome, resends and pauses included."""
    requests: int
    """How many requests were sent for it."""
    late: float | None = None
    """For how many seconds the login had been due. None: no keeper exchanged it because it was due."""


@frozen
class TokensAnswered:
    """`Keeper.tokens` has an answer for a caller."""

    answer: AnsweredFrom
    seconds: float
    """For how long the caller waited."""


@frozen
class StoreFailed:
    """A verb of the keeper's store raised, or did not answer in time."""

    verb: str


@frozen
class WebhookAttempted:
    """One delivery of a notice to a receiver was tried."""

    outcome: str
    """``taken``, or why it was not. The number of different texts must be small."""


@frozen
class KeeperState:
    """What a keeper does at this moment."""

    in_flight: int
    """Exchanges under way."""
    unsaved_logins: int
    """Logins whose new tokens are not in the store yet."""
    spool_files: int | None
    """Files of the spool that are not in the store yet. None: the keeper has no spool, or has not read it."""
    breakers: Mapping[str, str]
    """The fault of each open breaker, by its broker; ``"*"`` is all brokers."""
    events_dropped: int
    """Events that were dropped since the keeper was entered, because the handler is too slow."""
    last_round: datetime | None
    """When the loop looked last for what is due. None: there is no loop, or it has not looked yet."""
    next_probes: Mapping[str, datetime] = field(factory=dict)
    """When the next probe of each open breaker may be sent, by the wall clock."""
    unopened_logins: int = 0
    """Logins that were met lately and that no key at hand opens, at the most a thousand."""


@frozen
class KeeperEntered:
    """A keeper begins its work."""

    keeper: str
    """A name that no other keeper has."""
    look: Callable[[], KeeperState] = field(repr=False)
    """What the keeper does, at any time until it is left; without I/O, and from any thread."""


@frozen
class KeeperLeft:
    """A keeper was left: nothing is known of it any more."""

    keeper: str


@frozen
class BrokerFigures:
    """The logins of one broker."""

    logins: int
    states: Mapping[str, int]
    """Logins with an account in that state. A login with several accounts may count under several states."""
    expired: int
    """Logins with an access token that has ended."""
    due: int
    """Logins that are due, or late."""


@frozen
class Figures:
    """A fleet as one of its processes has counted it."""

    at: datetime
    """When it was counted, by the wall clock of the process that did."""
    seconds: float
    """For how long."""
    brokers: Mapping[str, BrokerFigures]
    leased: int
    """Logins under a lease: a process exchanges them."""
    due: int
    """Logins that are due, or late; those of paused brokers are left out."""
    most_overdue: float
    """For how many seconds the most overdue login has been due; those of paused brokers are left out."""
    notices_waiting: int | None = None
    """None: the store keeps no notices."""
    notices_dead: int | None = None
    oldest_notice: datetime | None = None
    """When the oldest notice that waits was written. None: none waits."""
    due_by_hour: tuple[int, ...] = ()
    """Logins that fall due in each of the 24 hours after `at`, those of paused brokers too. Empty: not counted."""


@frozen
class FleetCounted:
    """A keeper has counted the fleet, for all of its processes."""

    keeper: str
    figures: Figures | None
    """None: another process counts from now on, or the store failed. The figures before are out of date."""


Observation = (
    ExchangeEnded | TokensAnswered | StoreFailed | WebhookAttempted | KeeperEntered | KeeperLeft | FleetCounted
)
"""What an observer is told. A later version may tell more: an observer passes over what it does not know."""


class Observer(Protocol):
    """Is told what a client or a keeper does: the `observer=` of both.

    An observer that raises is logged, once a minute at the most, and does no other harm.
    """

    def observe(self, told: Observation, /) -> None:
        """Take one value: at once, because exchanges wait for it. Called in the event loop's thread."""
        ...


class CombinedObserver:
    """Tells each of `observers`, and lets none of them do harm. One that is given twice is told once.

    Raises `InvalidRequest` for what is no `Observer`.
    """

    def __init__(self, *observers: Observer) -> None:
        for observer in observers:
            check_observer(observer)
        self.observers = tuple({id(observer): observer for observer in _each_of(observers)}.values())
        self._silent_until: dict[int, float] = {}

    def __repr__(self) -> str:
        return f"<CombinedObserver of {len(self.observers)}>"

    def observe(self, told: Observation, /) -> None:
        """Tell each of them."""
        for observer in self.observers:
            try:
                given: object = observer.observe(told)  # type: ignore[func-returns-value]
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:  # noqa: BLE001 - an observer of the user's may raise anything
                self._complain(observer, f"raised {type(error).__name__}")
            else:
                if inspect.iscoroutine(given):
                    given.close()
                    self._complain(observer, "gave something to await, which is not done")

    def _complain(self, observer: Observer, how: str) -> None:
        now = time.monotonic()
        if now >= self._silent_until.get(id(observer), 0.0):
            self._silent_until[id(observer)] = now + _SILENT_FOR
            _log.error("an observer (%s) %s; what it was told is lost to it", type(observer).__name__, how)


def _each_of(observers: tuple[Observer, ...]) -> Iterator[Observer]:
    for observer in observers:
        if isinstance(observer, CombinedObserver):
            yield from observer.observers
        else:
            yield observer


def outcome_name(outcome: object) -> str:
    """How `ExchangeEnded` names an outcome or an error: by the nearest of its classes that is this package's."""
    kind = type(outcome)
    if kind not in _names:
        ours = (it for it in kind.__mro__ if it.__module__.startswith("mesh_refresh") and it.__name__[0] != "_")
        _names[kind] = re.sub(r"(?<!^)(?=[A-Z])", "_", next(ours, kind).__name__).lower()
    return _names[kind]


def check_observer(observer: object) -> None:
    """Raises `InvalidRequest` for what is no observer."""
    observe = getattr(observer, "observe", None)
    if isinstance(observer, type) or not callable(observe) or inspect.iscoroutinefunction(observe):
        raise InvalidRequest("observer takes an object with a plain function `observe`, see mesh_refresh.telemetry.")
