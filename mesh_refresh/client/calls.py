"""What one caller asked for, the request that a strategy built of it, and what the outcome tells. Pure."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

from attrs import define, evolve, field, frozen

from mesh_refresh.enums import BrokerType
from mesh_refresh.errors import InvalidRequest, MeshRefreshError
from mesh_refresh.masking import MaskedStr
from mesh_refresh.messages import RefreshRequest
from mesh_refresh.observing import Observer
from mesh_refresh.protocols import RefreshOptions, Strategy, credential_of
from mesh_refresh.replies.brought import changed_fields
from mesh_refresh.replies.outcomes import CodeRefused, MfaRequired, Outcome, Refreshed, UnreadableReply
from mesh_refresh.tokens import Tokens
from mesh_refresh.validation import wrong_broker, wrong_metadata, wrong_text

_TEXTS = ("type", "refresh_token", "access_token", "trade_token", "mfa_code")


def built(build: Callable[[], object]) -> RefreshRequest:
    """The request that `build` returns. Raises `InvalidRequest` where `build` raises, or the request cannot be sent.

    The error names the wrong field and does not show its value.
    """
    try:
        request = build()
        wrong = _wrong_request(request)
    except MeshRefreshError:
        raise
    except (Exception, asyncio.CancelledError) as error:  # nothing is awaited here: no task was cancelled
        what = f"The strategy raised {type(error).__name__}, and built no request; nothing was sent."
        raise InvalidRequest(what) from error
    if wrong is None and isinstance(request, RefreshRequest):
        return request
    raise InvalidRequest(f"The strategy built {wrong}; nothing was sent.")


def _wrong_request(request: object) -> str | None:
    """What is wrong with `request`, as the rest of a sentence; None where nothing is."""
    if not isinstance(request, RefreshRequest):
        if inspect.iscoroutine(request):
            request.close()  # Python would warn that it is never awaited
        return f"no RefreshRequest, but {type(request).__name__}"
    # Of any type: type checkers believe the declaration.
    refresh_token: object = request.refresh_token
    create: object = request.create_new_refresh_token
    if type(request.type) is BrokerType and create is None and request.metadata is None and refresh_token is not None:
        texts: tuple[object, ...] = (refresh_token, request.access_token, request.trade_token, request.mfa_code)
        if all([text is None or (isinstance(text, str) and text.isascii()) for text in texts]):
            return None  # the common case, quickly: every refresh comes here
    wrong = (
        (wrong_broker(request.type) and "type must be a BrokerType or another non-empty string")
        or (not isinstance(refresh_token, str) and "refresh_token must be a string")
        or (not (create is None or isinstance(create, bool)) and "create_new_refresh_token must be a bool or None")
        or next(filter(None, (wrong_text(name, getattr(request, name)) for name in _TEXTS)), None)
        or (request.metadata is not None and wrong_metadata(request.metadata))
    )
    return f"a request that cannot be sent: {wrong.rstrip('.')}" if wrong else None


Ref = str | int | tuple[str | None, str | None]
NO_REFS: tuple[Ref, ...] = ()

Result = Refreshed | MfaRequired | MeshRefreshError
"""What a caller gets: returned, or raised."""


@frozen
class SendOptions:
    """For code that stores tokens itself under a lease of its own, such as the keeper."""

    max_requests: int | None = None
    """Requests at the most, instead of the client's `RetryPolicy.max_requests`."""
    before_send: Callable[[], Awaitable[object] | object] | None = None
    """Called when there is a connection, right before the first byte, and awaited where it returns an awaitable. An
    error that it raises ends the exchange as `NotSent`."""
    call_on_outcome: bool = True
    """Whether `on_outcome` is called. Without it too, an outcome that reaches no caller is kept."""
    on_late: Callable[[Outcome], Awaitable[object] | object] | None = None
    """Called in place of `on_outcome` with what came too late and may hold a token: the outcome of a reply that came
    after the deadline, or an `UnreadableReply` with bytes that came on the connection behind the reply. Awaited where
    it returns an awaitable. It may be called long after the exchange, and while the client closes."""
    observer: Observer | None = None
    """Told of the exchange in place of the client's observer."""
    late: float | None = None
    """For how many seconds the exchange had been due, for the observer."""


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
    """The continuation, where the request has an MFA code."""
    gained: frozenset[str] = frozenset()
    """Names of fields of `tokens` that are newer than what the caller stores. To the caller they are news, also where
    the reply leaves them out."""

    spent: MaskedStr | None = field(init=False, repr=False)
    """What its exchange spends: the credential of `tokens`."""
    key: str = field(init=False, repr=False)
    """Broker and credential. Two exchanges with one key never run at once."""

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
        """Which account the outcome is of: the user's own key, or the account's ids where the user gave none."""
        tokens = self.tokens
        return tokens.ref if tokens.ref is not None else (tokens.account_id, tokens.mesh_account_id)

    @property
    def name(self) -> str:
        """For log lines: the broker, with the user's own key or, where there is none, Mesh's id of the account."""
        tokens = self.tokens
        whose = (
            f"ref {tokens.ref!r}" if tokens.ref is not None else f"Mesh account {tokens.mesh_account_id or 'unknown'}"
        )
        return f"{tokens.broker}, {whose}"

    def equals(self, other: "Call") -> bool:
        """Whether one exchange can serve both."""
        return self.request == other.request and self.sending == other.sending

    def after(self, tokens: Tokens) -> "Call":
        """The same call with `tokens`, which came after its own. The request stays."""
        return evolve(self, tokens=tokens, gained=self.gained | changed_fields(self.tokens, tokens))

    def successor(self, tokens: Tokens) -> "Call":
        """The call to refresh `tokens`, which came after its own: with a new request.

        Raises `InvalidRequest` where the strategy cannot build that.
        """
        request = built(lambda: self.strategy.build(tokens, self.options))
        return evolve(self.after(tokens), request=request)


def as_told(outcome: Refreshed | MfaRequired, before: Tokens) -> Refreshed | MfaRequired:
    """`outcome` with the tokens that the caller brought as its `before`."""
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
    """The key of a credential. Text and not a tuple, which the garbage collector would have to visit."""
    return MaskedStr(f"{broker}\0{credential}")


def goes_ahead_after(error: MeshRefreshError) -> bool:
    """Whether another request for the same token may be sent after one that ended with `error`.

    A retryable error spends no token, and neither does a refused code. Any other error is shared: a refused token is
    refused again, and a token that may be spent is not sent again.
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
