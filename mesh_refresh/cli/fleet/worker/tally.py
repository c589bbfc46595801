"""Counts the events of ``run --once``: its exit code, its closing sentence, and advice."""

from collections import Counter
from collections.abc import Mapping

from attrs import define, field

from mesh_refresh.cli.terminal.exit_codes import Exit, worst
from mesh_refresh.cli.terminal.messages import format_count
from mesh_refresh.keeper import (
    AccountEvent,
    AccountRefreshed,
    AccountUnreadable,
    AttemptFailed,
    BreakerFault,
    BreakerOpened,
    Event,
    MfaNeeded,
    ReconnectRequired,
)
from mesh_refresh.keeper.rules.classify import REJECTIONS

_EXITS: dict[type, tuple[Exit, str]] = {
    AttemptFailed: (Exit.TRY_AGAIN, "to be retried"),
    MfaNeeded: (Exit.CODE_NEEDED, "waiting for a code"),
    ReconnectRequired: (Exit.RECONNECT, "to be logged in again by the person"),
    AccountUnreadable: (Exit.UNREADABLE, "with an unreadable reply"),
}
_HAPPENED: dict[type, str] = {
    AccountRefreshed: "refreshed",
    **{kind: words for kind, (_, words) in _EXITS.items()},
    AttemptFailed: "failed for the moment",
}
"""What an event of this class is in the sum of a long time. By then, a failed attempt has been repeated."""
_FAULTS = {
    BreakerFault.CLIENT_REFUSED: Exit.KEYS_REFUSED,
    BreakerFault.NOT_PERMITTED: Exit.KEYS_REFUSED,
    BreakerFault.REJECTED: Exit.REJECTED,
    BreakerFault.REDIRECTED: Exit.REJECTED,
}
_REJECTIONS = {kind.__name__: _FAULTS[fault] for kind, fault in REJECTIONS.items()}
"""By the name of an attempt's error. They back an account off, until so many do that a breaker opens instead."""
_ADVICE = {
    BreakerFault.CLIENT_REFUSED: "Mesh refuses the keys. No token was spent. Check the client id and secret.",
    BreakerFault.REDIRECTED: "the server redirects to another address. No token was spent. Check MESH_BASE_URL.",
    BreakerFault.NOT_PERMITTED: (
        "Mesh does not permit this to these keys, or does not know the address. Check MESH_BASE_URL, and ask Mesh "
        "which permissions the keys have."
    ),
    BreakerFault.REJECTED: "Mesh rejects the request. Check MESH_BASE_URL and proxies, or update mesh-refresh.",
    BreakerFault.NOT_SENT: "no connection. No token was spent. Check the network and MESH_BASE_URL, then run it again.",
    BreakerFault.THROTTLED: "Mesh wants fewer requests. No token was spent. Run it again later, perhaps with --rate.",
    BreakerFault.UNAVAILABLE: "Mesh is not available now. Run it again later.",
    BreakerFault.UNKNOWN_OUTCOMES: (
        "several requests in a row got no reply. Their tokens may be spent. Run it again later: no token is sent "
        "again before --resend-after has passed."
    ),
    BreakerFault.UNREADABLE: (
        "several replies in a row cannot be read. They may hold live tokens, and are kept: mesh-refresh salvage. "
        "Check the proxies and gateways between you and Mesh."
    ),
    BreakerFault.REFUSALS: (
        "a broker refuses more logins than are likely to be revoked at once. Run it again later, or leave a worker "
        "running: it finds out whether the broker or the logins are at fault."
    ),
}
"""What to do about an outage that is not an account's fault."""


def list_events(events: Mapping[str, int]) -> list[str]:
    """What happened to accounts, in words, by how many events of each class there were."""
    numbers = {words: events.get(kind.__name__, 0) for kind, words in _HAPPENED.items()}
    return [f"{number} {words}" for words, number in numbers.items() if number]


@define
class Tally:
    """The counts of one run. `count` is the keeper's ``on_event``."""

    events: Counter[type] = field(factory=Counter)
    codes: set[Exit] = field(factory=set)
    faults: set[BreakerFault] = field(factory=set)
    told: set[str] = field(factory=set)
    """Logins that an event names."""
    rejected: set[str] = field(factory=set)
    """Those of them whose request was rejected."""
    silent: int = 0
    """Logins that were claimed and that no event names: one that was refused for the first time, for example."""

    def count(self, event: Event) -> None:
        """Count `event`."""
        self.events[type(event)] += 1
        if isinstance(event, AccountEvent):
            self.told.add(event.login_id)
        if isinstance(event, BreakerOpened):
            self.faults.add(event.fault)
            self.codes.add(_FAULTS.get(event.fault, Exit.TRY_AGAIN))
        elif isinstance(event, AttemptFailed) and event.error in _REJECTIONS:
            self.rejected.add(event.login_id)
            self.codes.add(_REJECTIONS[event.error])
        elif type(event) in _EXITS:
            self.codes.add(_EXITS[type(event)][0])
        if self.faults & {BreakerFault.NOT_PERMITTED, BreakerFault.REJECTED}:
            # The breaker shows that the accounts are not at fault: the keeper undoes their backoffs.
            self.events[AttemptFailed] -= len(self.rejected)
            self.told -= self.rejected
            self.rejected.clear()

    def count_claimed(self, number: int) -> None:
        """Note that this run claimed `number` logins. Call it once, after the last event."""
        self.silent = max(0, number - len(self.told))
        if self.silent and not self.faults:
            self.codes.add(Exit.TRY_AGAIN)

    def count_still_due(self, before: int, left: int) -> int:
        """How many logins this run leaves to be refreshed.

        `before` were due at its start, and the store counts `left` at its end. Logins that were claimed while a
        breaker was open are due some seconds later, so the store does not count them.
        """
        return min(left + self.silent, max(left, before - len(self.told))) if self.faults else left

    def advise(self) -> list[str]:
        """What to do about each outage that held exchanges back, one line each."""
        return [f"{fault.value}: {_ADVICE[fault]}" for fault in BreakerFault if fault in self.faults]

    @property
    def code(self) -> Exit:
        """The highest exit code that an event gave; 0 for none."""
        return worst(list(self.codes))

    def sum_up(self, left: int) -> str:
        """The closing sentence of the run, which leaves `left` logins due."""
        if not (self.told or self.silent or self.faults or left):
            return "nothing was left to refresh."
        refreshed = self.events[AccountRefreshed]
        parts = [f"{format_count(refreshed, 'account')} refreshed"]
        numbers = {kind: self.events[kind] for kind in _EXITS}
        numbers[AttemptFailed] += 0 if self.faults else self.silent
        parts += [f"{numbers[kind]} {words}" for kind, (_, words) in _EXITS.items() if numbers[kind]]
        if self.faults:
            parts.append(f"exchanges held back ({', '.join(sorted(self.faults))})")
        if left:
            parts.append(f"{format_count(left, 'login')} still due")
        return ", ".join(parts) + "."
