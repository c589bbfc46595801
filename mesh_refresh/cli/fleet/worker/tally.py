"""What came of one run, counted from its events."""

from collections import Counter

from attrs import define, field

from mesh_refresh.cli.terminal.exit_codes import Exit, worst
from mesh_refresh.cli.terminal.messages import counted
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

_EXITS: dict[type, tuple[Exit, str]] = {
    AttemptFailed: (Exit.TRY_AGAIN, "to be tried again"),
    MfaNeeded: (Exit.CODE_NEEDED, "in need of a code"),
    ReconnectRequired: (Exit.RECONNECT, "in need of a new login"),
    AccountUnreadable: (Exit.UNREADABLE, "with a reply that cannot be read"),
}
_FAULTS = {
    BreakerFault.CLIENT_REFUSED: Exit.KEYS_REFUSED,
    BreakerFault.NOT_PERMITTED: Exit.KEYS_REFUSED,
    BreakerFault.REJECTED: Exit.REJECTED,
    BreakerFault.REDIRECTED: Exit.REJECTED,
}
_REJECTIONS = {
    "PermissionDenied": Exit.KEYS_REFUSED,
    "NotFound": Exit.KEYS_REFUSED,
    "UnavailableForLegalReasons": Exit.KEYS_REFUSED,
    "RequestRejected": Exit.REJECTED,
}
"""By the name of an attempt's error. They back an account off, until so many do that a breaker opens instead."""
_ADVICE = {
    BreakerFault.CLIENT_REFUSED: "Mesh refuses the keys. Check MESH_CLIENT_ID and MESH_CLIENT_SECRET.",
    BreakerFault.REDIRECTED: "what answers points elsewhere. Check MESH_BASE_URL.",
    BreakerFault.NOT_PERMITTED: (
        "Mesh does not let these keys do it, or knows no such address. Check MESH_BASE_URL, and ask Mesh what"
        " the keys may do."
    ),
    BreakerFault.REJECTED: (
        "the request as such is not accepted. Check MESH_BASE_URL and proxies, or update mesh-refresh."
    ),
    BreakerFault.NOT_SENT: "there is no connection. Check the network and MESH_BASE_URL, and run it again.",
    BreakerFault.THROTTLED: "Mesh wants fewer requests. Run it again later, perhaps with --rate.",
    BreakerFault.UNAVAILABLE: "Mesh is not available at the moment. Run it again later.",
    BreakerFault.UNKNOWN_OUTCOMES: (
        "one request after the other stayed without an answer. Run it again later: nothing is sent again "
        "before it may be."
    ),
    BreakerFault.UNREADABLE: (
        "one reply after the other cannot be read. Look at what stands between you and Mesh, a proxy or a "
        "gateway; salvage shows what was kept."
    ),
    BreakerFault.REFUSALS: (
        "more logins of a broker are refused than can be their own fault. Run it again later, or leave a "
        "worker running: it finds out whose fault it is."
    ),
}
"""What to do about a fault that is nobody's; not one of an account."""


@define
class Tally:
    """Give it every event."""

    events: Counter[type] = field(factory=Counter)
    codes: set[Exit] = field(factory=set)
    faults: set[BreakerFault] = field(factory=set)
    told: set[str] = field(factory=set)
    """Logins of which an event told something."""
    rejected: set[str] = field(factory=set)
    """Those of them whose request was not accepted."""
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
        elif isinstance(event, AttemptFailed) and event.error in _REJECTIONS:
            self.rejected.add(event.login_id)
            self.codes.add(_REJECTIONS[event.error])
        elif type(event) in _EXITS:
            self.codes.add(_EXITS[type(event)][0])
        if self.faults & {BreakerFault.NOT_PERMITTED, BreakerFault.REJECTED}:
            # It was not the accounts' fault: they are due as they were.
            self.events[AttemptFailed] -= len(self.rejected)
            self.told -= self.rejected
            self.rejected.clear()

    def claimed(self, number: int) -> None:
        """So many logins were claimed in this run."""
        self.silent = max(0, number - len(self.told))
        if self.silent and not self.faults:
            self.codes.add(Exit.TRY_AGAIN)

    def still_due(self, before: int, left: int) -> int:
        """How many of `before` that were due have still to be refreshed; `left` of them are due as they were.

        Those that were claimed while a fault held exchanges back are put off for some seconds, and are not among these.
        """
        return min(left + self.silent, max(left, before - len(self.told))) if self.faults else left

    def advice(self) -> list[str]:
        """What to do about what held exchanges back, a line each."""
        return [f"{fault.value}: {_ADVICE[fault]}" for fault in BreakerFault if fault in self.faults]

    @property
    def code(self) -> Exit:
        """The worst of it."""
        return worst(list(self.codes))

    def sentence(self, left: int) -> str:
        """What came of it; `left` logins are still due."""
        refreshed = self.events[AccountRefreshed]
        parts = [f"{counted(refreshed, 'account')} refreshed"]
        numbers = {kind: self.events[kind] for kind in _EXITS}
        numbers[AttemptFailed] += 0 if self.faults else self.silent
        parts += [f"{numbers[kind]} {words}" for kind, (_, words) in _EXITS.items() if numbers[kind]]
        if self.faults:
            parts.append(f"exchanges held back ({', '.join(sorted(self.faults))})")
        if left:
            parts.append(f"{counted(left, 'login')} still due")
        return ", ".join(parts) + "."
