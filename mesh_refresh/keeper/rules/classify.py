"""What the error of an exchange means: for the account, and for the breakers. Pure. See docs/decisions/breakers.md.

An error is about the account, or about a broker, Mesh, the keys or the network. The latter is a matter for the
breakers, and counts against no account. A request that is not accepted may be either: the account backs off, until so
many do that a breaker opens.
"""

from collections.abc import Callable
from enum import Enum

from attrs import frozen

from mesh_refresh import errors
from mesh_refresh.errors import MeshRefreshError
from mesh_refresh.keeper.events import BreakerFault
from mesh_refresh.keeper.rules.failure import Failed, Failure, Refused, Unknown
from mesh_refresh.replies.outcomes import CodeRefused, UnreadableReply
from mesh_refresh.tokens import Tokens


class Heard(Enum):
    """What the breakers hear of an exchange that failed."""

    NOTHING = "nothing"
    """The request was wrong before any I/O."""
    ANSWERED = "answered"
    """Mesh has answered, and about this account: Mesh and the network work."""
    REFUSED = "refused"
    UNREADABLE = "unreadable"
    UNKNOWN = "unknown"
    REJECTED = "rejected"
    """The request was not accepted: the fault of the account or, where many are rejected, of the broker."""
    OUTAGE = "outage"
    """No account's fault."""


@frozen
class Signal:
    """What the breakers are told."""

    heard: Heard
    fault: BreakerFault | None = None
    """Of a rejection or an outage: which."""


_OUTAGES: dict[type[MeshRefreshError], BreakerFault] = {
    errors.ClientRefused: BreakerFault.CLIENT_REFUSED,
    errors.RedirectRefused: BreakerFault.REDIRECTED,
    errors.Throttled: BreakerFault.THROTTLED,
    errors.Unavailable: BreakerFault.UNAVAILABLE,
    errors.NotSent: BreakerFault.NOT_SENT,
}
REJECTIONS: dict[type[MeshRefreshError], BreakerFault] = {
    errors.PermissionDenied: BreakerFault.NOT_PERMITTED,
    errors.NotFound: BreakerFault.NOT_PERMITTED,
    errors.UnavailableForLegalReasons: BreakerFault.NOT_PERMITTED,
    errors.RequestRejected: BreakerFault.REJECTED,
}


def classify(
    error: MeshRefreshError, tokens: Tokens, may_resend: Callable[[Tokens], bool]
) -> tuple[Failure | None, Signal]:
    """The failure that `error` is for an account with these `tokens`, and the signal for the breakers.

    No failure: the code was wrong, and the account is as before. `may_resend` says whether the strategy allows a second
    request. The breakers have the last word on a refusal and a rejection: whether it counts against the account.
    """
    name = type(error).__name__
    if isinstance(error, CodeRefused):
        return None, Signal(Heard.ANSWERED)
    if isinstance(error, errors.TokensRefused):
        return Refused(error.display_message), Signal(Heard.REFUSED)
    if isinstance(error, errors.OutcomeUnknown):
        heard = Heard.UNREADABLE if isinstance(error, UnreadableReply) else Heard.UNKNOWN
        return Unknown(name, may_resend(tokens)), Signal(heard)
    if fault := _fault_of(error, REJECTIONS):
        return Failed(name, blamed=True), Signal(Heard.REJECTED, fault)
    if fault := _fault_of(error, _OUTAGES):
        return Failed(name, blamed=False), Signal(Heard.OUTAGE, fault)
    heard = Heard.NOTHING if isinstance(error, errors.InvalidRequest) else Heard.ANSWERED
    return Failed(name, blamed=True), Signal(heard)


def _fault_of(error: MeshRefreshError, faults: dict[type[MeshRefreshError], BreakerFault]) -> BreakerFault | None:
    return next((fault for kind, fault in faults.items() if isinstance(error, kind)), None)
