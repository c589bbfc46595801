"""One caller's wish, and what a finished exchange means for it. Pure."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from attrs import evolve, field, frozen

from mesh_refresh.errors import MeshRefreshError
from mesh_refresh.messages import RefreshRequest, Reply
from mesh_refresh.outcomes import CodeRefused, MfaRequired, Refreshed, UnreadableReply
from mesh_refresh.protocols import RefreshOptions, Strategy
from mesh_refresh.tokens import Tokens


@frozen
class SendOptions:
    """For code that stores tokens itself under a lease of its own, such as the keeper."""

    attempts: int | None = None
    """Requests at the most, instead of the client's `RetryPolicy.attempts`."""
    before_send: Callable[[], Awaitable[object]] | None = None
    """Awaited with the connection in hand, right before the bytes. What it raises ends the exchange as `NotSent`."""
    hook: bool = True
    """Whether `on_outcome` is told. Without it, an outcome that reaches no caller is still kept."""


@frozen
class Call:
    """What one caller asked for."""

    strategy: Strategy
    tokens: Tokens
    request: RefreshRequest
    options: RefreshOptions = RefreshOptions()
    sending: SendOptions = SendOptions()
    pending: MfaRequired | None = None
    """The continuation, where the request has a code."""

    @property
    def key(self) -> tuple[str, str]:
        """What is never in two exchanges at once."""
        return (self.request.type, self.request.refresh_token)

    def equals(self, other: "Call") -> bool:
        """Whether one exchange can serve both."""
        return self.request == other.request and self.sending == other.sending

    def successor(self, tokens: Tokens) -> "Call":
        """The same wish for the tokens that came after these."""
        return evolve(self, tokens=tokens, request=self.strategy.build(tokens, self.options))


@frozen
class Answered:
    """Mesh answered; each caller reads it for its own account."""

    request: RefreshRequest
    reply: Reply
    at: datetime
    """When the request was sent."""
    pending: MfaRequired | None = field(default=None, repr=False)

    def outcome_for(self, call: Call) -> Refreshed | MfaRequired | MeshRefreshError:
        """What the answer means for the account of `call`."""
        return self._read(call, call.tokens)

    def _read(self, call: Call, tokens: Tokens) -> Refreshed | MfaRequired | MeshRefreshError:
        try:
            return call.strategy.interpret(self.request, tokens, self.reply, self.at)
        except CodeRefused as error:
            error.pending = call.pending or self.pending
            return error
        except MeshRefreshError as error:
            return error
        except Exception as error:
            # A bug in a strategy must not cost a token that came: the bytes are kept like those of any odd reply.
            return _not_understood(error, self.reply, tokens)


def _not_understood(error: Exception, reply: Reply, tokens: Tokens) -> UnreadableReply:
    unreadable = UnreadableReply(
        f"The strategy raised {type(error).__name__} while it read the reply.",
        facts=reply.facts,
        body=reply.body,
        may_hold_token=bool(reply.suspects) or reply.may_hide_token,
        before=tokens,
    )
    unreadable.__cause__ = error
    return unreadable


def holds_live_token(outcome: Refreshed | MfaRequired | MeshRefreshError) -> bool:
    """Whether losing `outcome` could lose a token."""
    if isinstance(outcome, UnreadableReply):
        return outcome.may_hold_token
    return isinstance(outcome, Refreshed | MfaRequired)


def own_tokens(outcome: Refreshed | MfaRequired | MeshRefreshError) -> Tokens | None:
    """The account's tokens after `outcome`; None where it has none for this account."""
    if isinstance(outcome, Refreshed):
        return None if outcome.asked is None else outcome.tokens
    return outcome.tokens if isinstance(outcome, MfaRequired) else None


def rotated_to(outcome: Refreshed | MfaRequired | MeshRefreshError, spent: str) -> bool:
    """Whether the exchange replaced the refresh token that it sent."""
    if isinstance(outcome, Refreshed | MfaRequired):
        return any(tokens.refresh_token != spent for tokens in outcome.all_tokens)
    return False
