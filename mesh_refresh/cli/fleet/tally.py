"""What came of one run, counted from its events."""

from collections import Counter

from attrs import define, field

from mesh_refresh.cli.exits import Exit, worst
from mesh_refresh.keeper import (
    AccountEvent,
    AccountRefreshed,
    AccountUnreadable,
    AttemptFailed,
    BreakerOpened,
    Event,
    Fault,
    MfaNeeded,
    ReconnectRequired,
)

_EXITS: dict[type, tuple[Exit, str]] = {
    AttemptFailed: (Exit.TRY_AGAIN, "to be tried again"),
    MfaNeeded: (Exit.CODE_NEEDED, "in need of a code"),
    ReconnectRequired: (Exit.RECONNECT, "in need of a new login"),
    AccountUnreadable: (Exit.UNREADABLE, "with a reply that cannot be read"),
}
_FAULTS = {
    Fault.CLIENT_REFUSED: Exit.KEYS_REFUSED,
    Fault.NOT_PERMITTED: Exit.KEYS_REFUSED,
    Fault.REJECTED: Exit.REJECTED,
    Fault.REDIRECTED: Exit.REJECTED,
}


@define
class Tally:
    """Give it every event."""

    events: Counter[type] = field(factory=Counter)
    codes: set[Exit] = field(factory=set)
    faults: set[Fault] = field(factory=set)
    told: set[str] = field(factory=set)
    """Logins of which an event told something."""
    silent: int = 0
    """Logins that were claimed without an event: refused for the first time, say, and asked once more later."""

    def count(self, event: Event) -> None:
        """One more."""
        self.events[type(event)] += 1
        if isinstance(event, AccountEvent):
            self.told.add(event.login_id)
        if isinstance(event, BreakerOpened):
            self.faults.add(event.fault)
            self.codes.add(_FAULTS.get(event.fault, Exit.TRY_AGAIN))
        elif type(event) in _EXITS:
            self.codes.add(_EXITS[type(event)][0])

    def claimed(self, number: int) -> None:
        """So many logins were claimed in this run."""
        self.silent = max(0, number - len(self.told))
        if self.silent and not self.faults:
            self.codes.add(Exit.TRY_AGAIN)

    @property
    def code(self) -> Exit:
        """The worst of it."""
        return worst(list(self.codes))

    def sentence(self, left: int) -> str:
        """What came of it; `left` logins are still due."""
        refreshed = self.events[AccountRefreshed]
        parts = [f"{refreshed} account{'' if refreshed == 1 else 's'} refreshed"]
        numbers = {kind: self.events[kind] for kind in _EXITS}
        numbers[AttemptFailed] += 0 if self.faults else self.silent
        parts += [f"{numbers[kind]} {words}" for kind, (_, words) in _EXITS.items() if numbers[kind]]
        if self.faults:
            parts.append(f"exchanges held back ({', '.join(sorted(self.faults))})")
        if left:
            parts.append(f"{left} login{'' if left == 1 else 's'} still due")
        return ", ".join(parts) + "."
