"""What a reply of Mesh means for each caller of its exchange. Pure."""

import inspect
from collections.abc import Iterable
from datetime import datetime
from typing import Self

from attrs import define, evolve, field

from mesh_refresh import codec
from mesh_refresh.client.calls import NO_REFS, Call, Ref, Result, own_tokens
from mesh_refresh.errors import MeshRefreshError
from mesh_refresh.masking import MaskedStr
from mesh_refresh.messages import BodyKind, HttpReply, RefreshRequest, Reply
from mesh_refresh.replies.brought import Brought, changed_fields
from mesh_refresh.replies.identity import contradicts, same_account
from mesh_refresh.replies.lineage import pass_on
from mesh_refresh.replies.outcomes import CodeRefused, MfaRequired, Refreshed, UnreadableReply
from mesh_refresh.replies.reading import holds_new_token
from mesh_refresh.tokens import Tokens


@define(eq=False, repr=False, weakref_slot=False)
class Answered:
    """A reply of Mesh to one exchange. Each caller reads it for its own account.

    It keeps the ledger of its outcomes: which refs have theirs, and to which one is owed still. A ref stands for one
    account in the user's own terms, see `Call.ref`.
    """

    key: str
    """That of the calls that it answers."""
    request: RefreshRequest
    _asker: Tokens
    pending: MfaRequired | None
    """The continuation, where the request has a code."""
    http: HttpReply
    at: datetime
    """When the request was sent."""
    received_at: datetime
    _client_secret: MaskedStr = field(repr=False)
    _is_nameless: bool = False
    _reply: Reply | None = None
    until: float = 0.0
    """Until when it answers late callers. In the past where it does so only while an outcome of it is owed."""
    # An outcome that holds a live token is owed to its ref until `on_outcome` or a caller of that ref has it.
    # Tuples, which the garbage collector visits once: answers are kept for half a minute.
    told: tuple[Ref, ...] = NO_REFS
    """The refs whose outcome `on_outcome` has taken."""
    reached: tuple[Ref, ...] = NO_REFS
    """The refs whose outcome `on_outcome` or a caller has."""
    unreached: tuple[Call, ...] = ()
    """One call of each ref to which the outcome is owed."""

    @classmethod
    def to(cls, call: Call, http: HttpReply, at: datetime, received_at: datetime, secret: MaskedStr) -> Self:
        """The answer to `call`."""
        return cls(call.key, call.request, call.tokens, call.pending, http, at, received_at, secret)

    def tell(self, ref: Ref) -> None:
        """Note that `on_outcome` has taken the outcome of `ref`."""
        self.told = (*self.told, ref)
        if self.reached:
            self.reach(ref)
        else:
            self.reached = self.told  # one object less to remember

    def reach(self, ref: Ref) -> None:
        """Note that a caller has the outcome of `ref`."""
        if ref not in self.reached:
            self.reached = (*self.reached, ref)

    def owe(self, calls: Iterable[Call]) -> None:
        """Note that the outcome is owed to the refs of `calls` too, but for refs that have it."""
        owed = {call.ref: call for call in (*self.unreached, *calls)}
        self.unreached = tuple(call for ref, call in owed.items() if ref not in self.reached)

    @property
    def reply(self) -> Reply:
        """The typed envelope, without the secrets that it may echo of the request. Decoded at the first use."""
        if self._reply is None:
            try:
                reply = codec.decode_reply(self.http, at=self.received_at)
                self._reply = reply.scrubbed((*self.request.secrets, self._client_secret))
            except Exception as error:  # noqa: BLE001 - a reply that no code can decode is kept as its bytes
                fault = f"reading it raised {type(error).__name__}"
                self._reply = Reply(self.http.status, BodyKind.CUT, body=self.http.raw or self.http.body, fault=fault)
        return self._reply

    def compact(self) -> None:
        """Drop the decoded reply, and keep its bytes. Many answers are remembered, and the garbage collector visits
        every object of each.
        """
        self._reply = None

    def outcome_for(self, call: Call) -> Result:
        """What the reply means for the account of `call`, by its strategy. Never raises.

        An error is returned. A strategy that raises or returns anything else makes an `UnreadableReply`, which keeps
        the bytes.
        """
        try:
            outcome = call.strategy.interpret(self.request, call.tokens, self.reply, self.at)
            if is_outcome(outcome):
                if self._is_of_another(call) and _is_nameless(outcome) and not _is_for_all(outcome):
                    self._is_nameless = True
                    outcome = _without_asked(outcome, call)
                return _with_gained(outcome, call.gained)
            what = f"made {_named(outcome)} of the reply, not Refreshed or MfaRequired of Tokens"
            return self._not_understood(call, what, None)
        except MeshRefreshError as error:
            return self._with_pending(call, error)
        except BaseException as error:  # noqa: BLE001 - nothing that a strategy raises may cost a token that came
            return self._not_understood(call, f"raised {type(error).__name__} while it read the reply", error)

    def leaves_out(self, call: Call, outcome: Result) -> bool:
        """Whether `outcome`, made for `call`, is of another account's exchange, so that `call` needs its own."""
        return isinstance(outcome, Refreshed) and self._is_nameless and self._is_of_another(call)

    def _is_of_another(self, call: Call) -> bool:
        """Whether the request was for another account than that of `call`, with which it shares a credential."""
        if call.tokens is self._asker or same_account(self._asker, call.tokens):
            return False
        sent = self.request.access_token
        return contradicts(self._asker, call.tokens) or (sent is not None and sent != call.tokens.auth_token)

    def _with_pending(self, call: Call, error: MeshRefreshError) -> MeshRefreshError:
        """`error`, with the continuation where a code was refused: that stays good, and a strategy does not know it."""
        pending = call.pending or self.pending
        if isinstance(error, CodeRefused) and pending is not None:
            error.pending = pending
        return error

    def _not_understood(self, call: Call, what: str, cause: BaseException | None) -> UnreadableReply:
        """The error that keeps the bytes of a reply which the strategy could not interpret."""
        try:
            may_hold_token = holds_new_token(self.request, call.tokens, self.reply)
        except Exception:  # noqa: BLE001 - of a body of any shape
            may_hold_token = True
        unreadable = UnreadableReply(
            f"The strategy {what}.",
            facts=self.reply.facts,
            body=self.reply.body,
            may_hold_token=may_hold_token,
            before=call.tokens,
        )
        unreadable.__cause__ = cause
        return unreadable


class Unusable(Answered):
    """Bytes that are no reply, and may hold a token. Every caller gets an `UnreadableReply` with them."""

    __slots__ = ("_what",)

    def __init__(self, call: Call, what: str, body: bytes, at: datetime) -> None:
        http = HttpReply(0, {}, body)
        super().__init__(call.key, call.request, call.tokens, call.pending, http, at, at, MaskedStr())
        self._what = what

    @classmethod
    def behind(cls, exchange_number: int, call: Call, body: bytes, at: datetime) -> "Unusable":
        """Bytes that came on the connection behind the reply to a request."""
        found = cls(call, "More came on the connection behind the reply to this request.", body, at)
        # A key of its own: a late caller with the spent token gets the outcome of the reply, and not these bytes.
        found.key = MaskedStr(f"{call.key}\0behind\0{exchange_number}")
        return found

    def outcome_for(self, call: Call) -> UnreadableReply:
        """An error with the bytes."""
        return UnreadableReply(self._what, body=self.http.body, may_hold_token=True, before=call.tokens)


def may_be_news(data: bytes, known: Iterable[str]) -> bool:
    """Whether `data`, which came behind a reply, has a token that is not `known`, or may hide one."""
    found, hidden = codec.tokens_behind(data)
    return hidden or not found <= {*known}


def tokens_of(call: Call, result: Result) -> tuple[str, ...]:
    """Every secret that is known after an exchange: what was sent, and what came."""
    known = [*call.request.secrets, *call.tokens.secrets]
    if not isinstance(result, MeshRefreshError):
        known += (secret for tokens in result.all_tokens for secret in tokens.secrets)
    if isinstance(result, MfaRequired) and result.access_token is not None:
        known.append(result.access_token)
    return tuple(known)


def _is_nameless(outcome: Refreshed | MfaRequired) -> bool:
    """Whether the entry that was taken for the account asked for names no account."""
    return outcome.asked is not None and outcome.brought[outcome.asked].isdisjoint(("account_id", "mesh_account_id"))


def _is_for_all(outcome: Refreshed | MfaRequired) -> bool:
    """Whether the entry that was taken for the account asked for is a pair that serves every account of the login."""
    return isinstance(outcome, Refreshed) and outcome.shared is not None and outcome.shared == outcome.asked


def _without_asked(outcome: Refreshed | MfaRequired, call: Call) -> Refreshed | MfaRequired:
    """`outcome`, of another account's exchange, for the account of `call`.

    Both share a credential, so the account takes the new one. It takes no access token: that is of the other account.
    """
    asked = outcome.asked
    own = pass_on(call.tokens, call.credential(call.tokens), own_tokens(outcome), call.credential)
    kept = [
        (tokens, Brought(names, tokens))
        for index, (tokens, names) in enumerate(zip(outcome.all_tokens, outcome.brought, strict=True))
        if index != asked
    ]
    if own is not call.tokens:
        kept.insert(0, (own, Brought(changed_fields(call.tokens, own), own)))
    all_tokens, read = tuple(tokens for tokens, _ in kept), tuple(brought for _, brought in kept)
    if isinstance(outcome, MfaRequired):
        return evolve(outcome, tokens=own, all_tokens=all_tokens, read=read)
    return evolve(outcome, all_tokens=all_tokens, asked=None if own is call.tokens else 0, read=read, shared=None)


def _with_gained(outcome: Refreshed | MfaRequired, gained: frozenset[str]) -> Refreshed | MfaRequired:
    """`outcome` with the fields that the caller's tokens had `gained` before it counted as brought."""
    if not gained or outcome.asked is None:
        return outcome
    read = tuple(
        Brought(names | gained if index == outcome.asked else names, tokens)
        for index, (names, tokens) in enumerate(zip(outcome.brought, outcome.all_tokens, strict=True))
    )
    return evolve(outcome, read=read)


def is_outcome(value: object) -> bool:
    """Whether `value`, which a strategy returned, is an outcome with parts of the right types."""
    if isinstance(value, Refreshed):
        number = len(value.all_tokens)
        if not number or not (_is_place(value.asked, number) and _is_place(value.shared, number)):
            return False
    elif not isinstance(value, MfaRequired) or not _all_tokens((value.tokens,)):
        return False
    parts: object = value.all_tokens
    return type(parts) is tuple and _all_tokens((value.before, *parts))


def _is_place(value: object, number: int) -> bool:
    return value is None or (type(value) is int and 0 <= value < number)


def _all_tokens(values: tuple[object, ...]) -> bool:
    return all([isinstance(tokens, Tokens) for tokens in values])


def _named(value: object) -> str:
    """The type of what a strategy returned. Closes a coroutine, which Python would warn of as never awaited."""
    if inspect.iscoroutine(value):
        value.close()
        return "a coroutine (its interpret must not be async)"
    if isinstance(value, Refreshed | MfaRequired):
        return f"{type(value).__name__} with other parts"
    return type(value).__name__
