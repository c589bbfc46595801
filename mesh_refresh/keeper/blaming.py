"""Whose fault a failed exchange is: an account's; or that of a broker, of Mesh, of the keys or of the way, so nobody's.

What is nobody's goes to the breakers, and counts against no account.
"""

from datetime import timedelta

from mesh_refresh import errors
from mesh_refresh.errors import InvalidRequest, MeshRefreshError, OutcomeUnknown
from mesh_refresh.keeper.core import Core
from mesh_refresh.keeper.events import Fault
from mesh_refresh.keeper.failing import Failed, Failure, Refused, Unknown
from mesh_refresh.keeper.gate import Place
from mesh_refresh.logins import Account
from mesh_refresh.outcomes import CodeRefused, UnreadableReply

_FAULTS: dict[type[MeshRefreshError], Fault] = {
    errors.ClientRefused: Fault.CLIENT_REFUSED,
    errors.RedirectRefused: Fault.REDIRECTED,
    errors.Throttled: Fault.THROTTLED,
    errors.Unavailable: Fault.UNAVAILABLE,
    errors.NotSent: Fault.NOT_SENT,
    errors.PermissionDenied: Fault.NOT_PERMITTED,
    errors.NotFound: Fault.NOT_PERMITTED,
    errors.UnavailableForLegalReasons: Fault.NOT_PERMITTED,
    errors.RequestRejected: Fault.REJECTED,
}


def blame(core: Core, error: MeshRefreshError, account: Account, login_id: str, place: Place) -> Failure | None:
    """What `error` means for the account; None for a wrong code, which is nobody's fault. The breakers are told too."""
    breakers, broker, probe = core.gate.breakers, place.broker, place.probe
    now, at, name = core.clock.monotonic(), core.at(), type(error).__name__
    if isinstance(error, CodeRefused):
        core.teller.tell(breakers.answered(broker, now, at, probe))
        return None
    if isinstance(error, errors.TokensRefused):
        expected = account.unknown_since is not None
        blamed, events = breakers.refused(broker, login_id, now, at, probe, account=account.epoch, expected=expected)
        core.teller.tell(events)
        return Refused(error.display_message, blamed, breakers.forgiven_until(broker))
    if isinstance(error, UnreadableReply):
        core.teller.tell(breakers.unreadable(broker, login_id, now, at, probe))
        return Unknown(name, core.mesh.may_resend(account.tokens))
    if isinstance(error, OutcomeUnknown):
        core.teller.tell(breakers.unknown(broker, login_id, now, at, probe))
        return Unknown(name, core.mesh.may_resend(account.tokens))
    fault = next((fault for kind, fault in _FAULTS.items() if isinstance(error, kind)), None)
    if fault is None:
        if not isinstance(error, InvalidRequest):
            core.teller.tell(breakers.answered(broker, now, at, probe))
        return Failed(name, blamed=True)
    asked: timedelta | None = getattr(error, "retry_after", None)
    said = error.display_message
    core.teller.tell(breakers.nobodys(broker, fault, now, at, probe, retry_after=asked, display_message=said))
    return Failed(name, blamed=False)


def not_made(core: Core, error: Exception, place: Place) -> Failed:
    """What an exception of the user's code means, before anything was sent: nobody can tell whether it is about all.

    So the broker is left alone as if its requests were not accepted, and the account is tried more and more rarely:
    where it is about that one, it must not hold up the others for ever.
    """
    now, at = core.clock.monotonic(), core.at()
    core.teller.tell(core.gate.breakers.nobodys(place.broker, Fault.REJECTED, now, at, place.probe))
    return Failed(type(error).__name__, blamed=True)
