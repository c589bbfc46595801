"""What one caller asked for, and what the outcome of an exchange tells. Pure."""

from collections.abc import Awaitable, Callable

from attrs import define, evolve, field, frozen

from mesh_refresh.client.requests import built
from mesh_refresh.errors import MeshRefreshError
from mesh_refresh.masking import MaskedStr
from mesh_refresh.messages import RefreshRequest
from mesh_refresh.protocols import RefreshOptions, Strategy, credential_of
from mesh_refresh.replies.brought import changed_fields
from mesh_refresh.replies.outcomes import CodeRefused, MfaRequired, Outcome, Refreshed, UnreadableReply
from mesh_refresh.tokens import Tokens

Ref = str | int | tuple[str | None, str | None]
NOBODY: tuple[Ref, ...] = ()

Result = Refreshed | MfaRequired | MeshRefreshError
"""What a caller gets: returned, or raised."""


@frozen
class SendOptions:
    """For code that stores tokens itself under a lease of its own, such as the keeper."""

    max_requests: int | None = None
    """Requests at the most, instead of the client's `RetryPolicy.max_requests`."""
    before_send: Callable[[], Awaitable[object] | object] | None = None
    """Called with the connection in hand, right before the bytes, and awaited where it can be. What it raises ends the
    exchange as `NotSent`."""
    call_on_outcome: bool = True
    """Whether `on_outcome` is told. Without it, an outcome that reaches no caller is still kept."""
    on_late: Callable[[Outcome], Awaitable[object] | object] | None = None
    """Told, instead of `on_outcome`, what came too late and may hold a token: the outcome of a reply behind its
    deadline, or an `UnreadableReply` with what came on the connection behind the reply. Awaited where it can be. It may
    be called long after the exchange, and while the client closes."""


DEFAULT_SENDING = SendOptions()
_PLAIN = RefreshOptions()


@define(eq=False)
class Call:
    """What one caller asked for."""

    strategy: Strategy
    tokens: Tokens
    request: RefreshRequest
    options: RefreshOptions = _PLAIN
    sending: SendOptions = DEFAULT_SENDING
    pending: MfaRequired | None = None
    """The continuation, where the request has a code."""
    gained: frozenset[str] = frozenset()
    """Fields of `tokens` that came after the ones which the caller keeps. They are news to the caller, even where the
    reply leaves them out."""

    spent: MaskedStr | None = field(init=False, repr=False)
    """What its exchange spends: the credential of `tokens`."""
    key: str = field(init=False, repr=False)
    """What is never in two exchanges at once."""

    def __attrs_post_init__(self) -> None:
        credential = self.credential(self.tokens)
        self.spent = None if credential is None else MaskedStr(credential)
        self.key = key_of(self.request.type, self.request.refresh_token if credential is None else credential)

    def credential(self, tokens: Tokens) -> str | None:
        """What an exchange of `tokens` spends."""
        return credential_of(self.strategy, tokens)

    def key_for(self, tokens: Tokens) -> str | None:
        """The key of a call with `tokens`; None where they cannot be exchanged."""
        credential = self.credential(tokens)
        return None if credential is None else key_of(self.request.type, credential)

    @property
    def ref(self) -> Ref:
        """Whose outcome it is, in the user's own terms; by the account's ids where the user has no terms for it."""
        tokens = self.tokens
        return tokens.ref if tokens.ref is not None else (tokens.account_id, tokens.mesh_account_id)

    @property
    def name(self) -> str:
        """Whose it is, for log lines: the broker and the user's own key, or Mesh's id where there is none."""
        tokens = self.tokens
        whose = (
            f"ref {tokens.ref!r}" if tokens.ref is not None else f"Mesh account {tokens.mesh_account_id or 'unknown'}"
        )
        return f"{tokens.broker}, {whose}"

    def equals(self, other: "Call") -> bool:
        """Whether one exchange can serve both."""
        return self.request == other.request and self.sending == other.sending

    def after(self, tokens: Tokens) -> "Call":
        """The same call, as it stands with the tokens that came after these; its request is the same."""
        return evolve(self, tokens=tokens, gained=self.gained | changed_fields(self.tokens, tokens))

    def successor(self, tokens: Tokens) -> "Call":
        """The same wish for the tokens that came after these."""
        request = built(lambda: self.strategy.build(tokens, self.options))
        return evolve(self.after(tokens), request=request)


def as_told(outcome: Refreshed | MfaRequired, before: Tokens) -> Refreshed | MfaRequired:
    """`outcome` as that of the tokens that a caller brought."""
    try:
        return evolve(outcome, before=before)
    except Exception:  # noqa: BLE001 - a class of the user's that cannot be made anew
        return outcome


def holds_live_token(outcome: Result) -> bool:
    """Whether losing `outcome` could lose a token."""
    if isinstance(outcome, UnreadableReply):
        return outcome.may_hold_token
    if isinstance(outcome, Refreshed):
        return bool(outcome.all_tokens)
    return isinstance(outcome, MfaRequired)


def key_of(broker: str, credential: str) -> str:
    """What a credential is found by. Text and not a tuple, which the garbage collector would have to visit."""
    return MaskedStr(f"{broker}\0{credential}")


def goes_ahead_after(error: MeshRefreshError) -> bool:
    """Whether another request for the same token may be sent after one that ended with `error`.

    Nothing is spent by what is retryable, and nothing by a refused code. Everything else is shared: what was refused
    once is refused again, and what may be spent is not sent again.
    """
    return error.retryable or isinstance(error, CodeRefused)


def own_tokens(outcome: Result) -> Tokens | None:
    """The account's tokens after `outcome`; None where it has none for this account."""
    if isinstance(outcome, Refreshed):
        return None if outcome.asked is None else outcome.tokens
    return outcome.tokens if isinstance(outcome, MfaRequired) else None


def rotated(outcome: Result, call: Call) -> bool:
    """Whether the exchange of `call` replaced the credential that it spent, as far as its reply tells."""
    if isinstance(outcome, MeshRefreshError) or not outcome.all_tokens:
        return False
    own = own_tokens(outcome)
    if own is not None and call.spent is not None:
        return call.credential(own) != call.spent
    return all(call.key_for(tokens) != call.key for tokens in (outcome.all_tokens if own is None else (own,)))
