"""What each error means: for the account, and for the breakers."""

import pytest

from mesh_refresh import errors
from mesh_refresh.errors import MeshRefreshError
from mesh_refresh.keeper.events import BreakerFault
from mesh_refresh.keeper.rules.classify import Heard, Signal, classify
from mesh_refresh.keeper.rules.failure import Failed, Failure, Refused, Unknown
from mesh_refresh.replies.outcomes import CodeRefused, UnreadableReply
from tests.keeper.making import tokens

NOT_PERMITTED = Signal(Heard.REJECTED, BreakerFault.NOT_PERMITTED)


@pytest.mark.parametrize(
    ("error", "failure", "signal"),
    [
        (errors.TokensRefused(), Refused(), Signal(Heard.REFUSED)),
        (errors.OutcomeUnknown(), Unknown("OutcomeUnknown"), Signal(Heard.UNKNOWN)),
        (errors.ServerFailure(), Unknown("ServerFailure"), Signal(Heard.UNKNOWN)),
        (UnreadableReply(body=b"?"), Unknown("UnreadableReply"), Signal(Heard.UNREADABLE)),
        (errors.PermissionDenied(), Failed("PermissionDenied", True), NOT_PERMITTED),
        (errors.NotFound(), Failed("NotFound", True), NOT_PERMITTED),
        (errors.UnavailableForLegalReasons(), Failed("UnavailableForLegalReasons", True), NOT_PERMITTED),
        (errors.RequestRejected(), Failed("RequestRejected", True), Signal(Heard.REJECTED, BreakerFault.REJECTED)),
        (errors.ClientRefused(), Failed("ClientRefused", False), Signal(Heard.OUTAGE, BreakerFault.CLIENT_REFUSED)),
        (errors.RedirectRefused(), Failed("RedirectRefused", False), Signal(Heard.OUTAGE, BreakerFault.REDIRECTED)),
        (errors.Throttled(), Failed("Throttled", False), Signal(Heard.OUTAGE, BreakerFault.THROTTLED)),
        (errors.Unavailable(), Failed("Unavailable", False), Signal(Heard.OUTAGE, BreakerFault.UNAVAILABLE)),
        (errors.NotSent(), Failed("NotSent", False), Signal(Heard.OUTAGE, BreakerFault.NOT_SENT)),
        (errors.Conflict(), Failed("Conflict", True), Signal(Heard.ANSWERED)),
        (errors.Locked(), Failed("Locked", True), Signal(Heard.ANSWERED)),
        (errors.InvalidRequest("?"), Failed("InvalidRequest", True), Signal(Heard.NOTHING)),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_an_error_means(error: MeshRefreshError, failure: Failure, signal: Signal) -> None:
    """One kind of error, one failure and one signal."""
    assert classify(error, tokens(), lambda _: True) == (failure, signal)


def test_a_wrong_code_is_no_failure() -> None:
    """The tokens are as they were, and Mesh has answered."""
    error = CodeRefused.__new__(CodeRefused)
    assert classify(error, tokens(), lambda _: True) == (None, Signal(Heard.ANSWERED))


@pytest.mark.parametrize("may", [True, False])
def test_the_strategy_says_whether_tokens_may_be_sent_again(may: bool) -> None:
    """It is asked for an unknown outcome, and for nothing else."""
    asked = []

    def may_resend(given: object) -> bool:
        asked.append(given)
        return may

    found, _ = classify(errors.ServerFailure(), tokens(), may_resend)
    assert found == Unknown("ServerFailure", may_resend=may)
    classify(errors.Throttled(), tokens(), may_resend)
    assert asked == [tokens()]
