"""When to send again, as a function of values. A request that may have spent a token is never resent blindly. Pure."""

from datetime import timedelta

from attrs import frozen

from mesh_refresh.errors import InvalidRequest, MeshRefreshError, OutcomeUnknown
from mesh_refresh.replies.outcomes import UnreadableReply


@frozen
class RetryPolicy:
    """How often, for how long and with which pauses one `refresh` tries. Raises `InvalidRequest` for wrong values."""

    max_requests: int = 3
    """Requests at the most, the first one counted."""
    deadline: timedelta = timedelta(seconds=60)
    """For all requests together, from the call's start: pauses included, `on_outcome` not."""
    resend_unknown: bool = False
    """Whether to send again after an unknown outcome, where the strategy allows it. With a broker that rotates its
    refresh tokens, a token can be spent twice by this, and some brokers revoke the login then."""
    backoff: timedelta = timedelta(milliseconds=500)
    """The pause after the first failure; doubled after each further one, and shortened at random by up to half."""
    backoff_cap: timedelta = timedelta(seconds=10)
    """The longest pause, unless Mesh asked for a longer one."""
    resend_after: timedelta = timedelta(seconds=10)
    """The least pause before a request is sent again after an unknown outcome: Mesh may still work on the first one."""

    def __attrs_post_init__(self) -> None:
        spans = (self.deadline, self.backoff, self.backoff_cap, self.resend_after)
        if not isinstance(self.max_requests, int) or not all(isinstance(span, timedelta) for span in spans):
            raise InvalidRequest("RetryPolicy takes a whole number of requests, and timedeltas for the rest.")
        if self.max_requests < 1:
            raise InvalidRequest("RetryPolicy needs at least one request.")
        if self.deadline <= timedelta():
            raise InvalidRequest("RetryPolicy needs a deadline above zero.")
        if min(self.backoff, self.backoff_cap, self.resend_after) < timedelta():
            raise InvalidRequest("RetryPolicy has a negative pause.")

    @property
    def last_send(self) -> timedelta:
        """The latest time for a request to go out, counted from the call's start.

        With less than a tenth of the deadline left, a request stays unsent: it would spend a token, and its answer
        would come after the deadline.
        """
        return self.deadline * 0.9


def pause_before_retry(
    policy: RetryPolicy,
    error: MeshRefreshError,
    *,
    attempt: int,
    elapsed: timedelta,
    may_resend: bool,
    chance: float,
) -> timedelta | None:
    """How long to wait before the next request. None: there must be none.

    `attempt` is the number of requests so far, `elapsed` the time since the call's start. `may_resend`: the strategy
    allows a further request after an unknown outcome. `chance` is random, in [0, 1).
    """
    if attempt >= policy.max_requests or not _worth_it(policy, error, may_resend=may_resend):
        return None
    grown = min(policy.backoff.total_seconds() * 2.0 ** min(attempt - 1, 60), policy.backoff_cap.total_seconds())
    pause = timedelta(seconds=grown * (1 - chance / 2))
    if isinstance(error, OutcomeUnknown):
        pause = max(pause, policy.resend_after)
    asked: timedelta | None = getattr(error, "retry_after", None)
    if asked is not None:
        # On top of what Mesh asked for, so that callers who were told the same second do not come in the same one.
        pause += asked
    return pause if pause < policy.deadline - elapsed else None


def _worth_it(policy: RetryPolicy, error: MeshRefreshError, *, may_resend: bool) -> bool:
    if isinstance(error, UnreadableReply) and error.may_hold_token:
        return False
    if isinstance(error, OutcomeUnknown):
        return policy.resend_unknown and may_resend
    return error.retryable
