"""Outcomes of an exchange. Expected ones are values; the errors here carry tokens or bytes."""

from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Self

from attrs import evolve, field, fields, frozen, has

from mesh_refresh import codec
from mesh_refresh.blank import some
from mesh_refresh.errors import InvalidRequest, MeshRefreshError, OutcomeUnknown, ReplyFacts
from mesh_refresh.masking import MaskedBytes, MaskedDict, hides_locals, masked
from mesh_refresh.messages import BodyKind, HttpReply, Reply
from mesh_refresh.replies.brought import FIELDS, Brought, brought_fields, onto
from mesh_refresh.replies.identity import contradicts, whose
from mesh_refresh.tokens import Tokens, check_format

_DOCUMENT = "mesh_refresh.mfa_required"
_VERSION = 1
_MOST_BITS = 63
"""Of a whole number that every JSON writer can write."""


@frozen
class Refreshed:
    """The exchange succeeded. Save each of `all_tokens` with `onto`: the old tokens may be spent."""

    before: Tokens
    """What was sent."""
    all_tokens: tuple[Tokens, ...]
    """The tokens of every account that the reply renewed. Fields that it left out are carried over."""
    reply: Reply
    """The typed envelope, with accounts and balances."""
    asked: int | None = field(default=0, repr=False)
    """The index in `all_tokens` of the account asked for; None where the reply does not have it."""
    read: tuple[Brought, ...] = field(default=(), repr=False)
    """For each of `all_tokens`, the fields that the reply had. Set where a reply is read; use `brought`."""
    shared: int | None = field(default=None, repr=False)
    """The index in `all_tokens` of a pair that serves every account of the login: the reply has it several times, and
    names no account. None: there is no such pair."""

    @property
    def brought(self) -> tuple[frozenset[str], ...]:
        """For each of `all_tokens`, the names of the fields that the reply had, or that a strategy has changed since.

        All other fields were carried over from `before`.
        """
        return brought_fields(self.before, self.all_tokens, self.asked, self.read)

    def onto(self, stored: Tokens) -> Tokens:
        """What to save for an account of the login. `stored` are the tokens that you keep for it.

        Fields that the reply brought for this account replace the stored ones, and the other fields stay. A stored
        refresh token that equals the one just spent becomes the new one, also where the reply left the account out.
        For an account that you do not store yet, give its entry of `all_tokens`: it comes back as it is.
        """
        return onto(stored, self.before, self.all_tokens, self.asked, self.brought, shared=self.shared)

    @property
    def tokens(self) -> Tokens:
        """The tokens of the account asked for. Raises `AccountNotInReply` where the reply renewed only others."""
        if self.asked is None:
            raise AccountNotInReply(self)
        return self.all_tokens[self.asked]

    def unwrap(self) -> Self:
        """Returns this outcome. See `MfaRequired.unwrap`, which raises."""
        return self


@frozen
class MfaRequired:
    """The broker asks for a code. This is the continuation: it holds live tokens, so keep it where tokens are kept.

    Hand it to `MeshClient.submit_mfa` with the code, in this process or in another one (`to_json`, `from_json`).
    """

    before: Tokens
    """What was sent."""
    tokens: Tokens
    """The old tokens, with the fields that the first reply renewed."""
    all_tokens: tuple[Tokens, ...]
    """The tokens of every account that the first reply renewed; often none."""
    reply: Reply
    """The typed envelope."""
    access_token: str | None = field(default=None, repr=masked)
    """The access token for the second request: that of the first reply, at any place of it, or the old one where the
    reply had none."""
    read: tuple[Brought, ...] = field(default=(), repr=False)
    """For each of `all_tokens`, the fields that the reply had. Set where a reply is read; use `brought`."""

    @property
    def asked(self) -> int | None:
        """The index in `all_tokens` of the account asked for; None where the first reply does not have it."""
        for index, tokens in enumerate(self.all_tokens):
            if tokens == self.tokens:
                return index
        named = whose(self.tokens, self.all_tokens)
        if named is None and len(self.all_tokens) == 1 and not contradicts(self.tokens, self.all_tokens[0]):
            return 0
        return named

    @property
    def brought(self) -> tuple[frozenset[str], ...]:
        """For each of `all_tokens`, the names of the fields that were brought, as in `Refreshed.brought`."""
        return brought_fields(self.before, self.all_tokens, self.asked, self.read)

    def onto(self, stored: Tokens) -> Tokens:
        """What to save for an account of the login, as in `Refreshed.onto`. Often the first reply renews nothing."""
        return onto(stored, self.before, self.all_tokens, self.asked, self.brought)

    @property
    def display_message(self) -> str | None:
        """The text that Mesh suggests to show to the person."""
        return self.reply.display_message

    def unwrap(self) -> Refreshed:
        """Raises `MfaPending`: there are no fresh tokens before the code."""
        raise MfaPending(self)

    def to_json(self) -> str:
        """The continuation as a JSON document, secrets in plain text. It has the reply without its body."""
        reply: Reply | None = self.reply  # none where a strategy of the user's has made this without one
        document = MaskedDict(
            format=_DOCUMENT,
            version=_VERSION,
            before=self.before.to_document(),
            tokens=self.tokens.to_document(),
            all_tokens=[tokens.to_document() for tokens in self.all_tokens],
            brought=[sorted(names) for names in self.brought],
            access_token=self.access_token,
            reply=_reply_document(Reply(200, BodyKind.EMPTY) if reply is None else reply),
        )
        return codec.dumps(document)

    @classmethod
    @hides_locals
    def from_json(cls, text: str | bytes | bytearray | memoryview) -> "MfaRequired":
        """The continuation that `to_json` wrote. Raises `InvalidRequest` for anything else."""
        document = codec.read_document(text)
        if isinstance(document, str):
            raise InvalidRequest(f"This is not a continuation: it {document}.")
        check_format(document, _DOCUMENT, _VERSION)
        try:
            return _continuation(document)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            wrong = type(error).__name__
        raise InvalidRequest(f"This continuation is damaged ({wrong}): a part of it is missing or of another type.")


def _continuation(document: MaskedDict) -> MfaRequired:
    access_token = document["access_token"]
    if access_token is not None and not isinstance(access_token, str):
        raise TypeError
    all_tokens = tuple(Tokens.from_document(tokens) for tokens in document["all_tokens"])
    brought: list[list[str]] = document["brought"]
    return MfaRequired(
        Tokens.from_document(document["before"]),
        Tokens.from_document(document["tokens"]),
        all_tokens,
        _read_reply(MaskedDict(document["reply"])),
        some(access_token),
        tuple(Brought(FIELDS.intersection(names), tokens) for names, tokens in zip(brought, all_tokens, strict=True)),
    )


def _reply_document(reply: Reply) -> MaskedDict:
    """`reply` without its body, which may be of 16 MiB: the envelope, written again from the fields that were read.

    The texts of the envelope have no secrets any more, see `Reply.scrubbed`.
    """
    names = ("status", "message", "display_message", "error_hash", "error_type", "team_code", "content")
    envelope = MaskedDict({_wire_name(name): _wire_value(getattr(reply, name)) for name in names})
    if _can_be_written(reply.error_data):
        envelope["errorData"] = reply.error_data
    return MaskedDict(
        http_status=reply.http_status,
        kind=reply.kind.name,
        retry_after=None if reply.retry_after is None else reply.retry_after.total_seconds(),
        asked_to_wait=reply.asked_to_wait,
        envelope=envelope,
    )


def _read_reply(document: MaskedDict) -> Reply:
    envelope = MaskedBytes(codec.dumps(MaskedDict(document["envelope"])).encode())
    http = HttpReply(int(document["http_status"]), {}, envelope)
    reply = codec.decode_reply(http, at=datetime.min.replace(tzinfo=UTC))  # without headers, no time matters
    wait = None if document["retry_after"] is None else timedelta(seconds=document["retry_after"])
    kind, asked = BodyKind[document["kind"]], bool(document["asked_to_wait"])
    return evolve(reply, kind=kind, body=b"", retry_after=wait, asked_to_wait=asked)


def _can_be_written(value: object) -> bool:
    """Whether `value`, of any shape, can be written as JSON. If not, it is left out, to save the tokens beside it."""
    try:
        codec.dumps({"": value})
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _wire_value(value: Any) -> Any:
    """A message, or a part of one, as Mesh writes it. Fields that are None are left out."""
    if has(type(value)):
        parts = ((part.name, getattr(value, part.name)) for part in fields(type(value)))
        return MaskedDict({_wire_name(name): _wire_value(part) for name, part in parts if part is not None})
    if isinstance(value, tuple):
        return [_wire_value(part) for part in value]
    if isinstance(value, timedelta):
        return value.total_seconds()
    if type(value) is int and value.bit_length() > _MOST_BITS:
        return str(value)  # an amount, which can be read from text too
    return value


def _wire_name(name: str) -> str:
    first, *rest = (f"{name}_seconds" if name.endswith("expires_in") else name).split("_")
    return first + "".join(map(str.capitalize, rest))


class UnreadableReply(OutcomeUnknown):
    """A reply came that cannot be read. Its bytes are kept, because they may be the only copy of a token."""

    _carriers: ClassVar[tuple[str, ...]] = ("body", "before")
    all_tokens: ClassVar[tuple[Tokens, ...]] = ()
    """Empty: no token could be read. Like `brought` and `onto`, it lets a hook treat all outcomes alike."""
    brought: ClassVar[tuple[frozenset[str], ...]] = ()

    def __init__(
        self,
        what: str | None = None,
        *,
        facts: ReplyFacts | None = None,
        body: bytes = b"",
        may_hold_token: bool = False,
        before: Tokens | None = None,
    ) -> None:
        advice = "Keep .body where tokens are kept: a new token may be in it." if may_hold_token else ""
        super().__init__(f"{what or 'The reply cannot be read.'} {advice}".rstrip(), facts=facts)
        self.body: bytes = MaskedBytes(body)
        """The bytes that were received, decompressed where possible."""
        self.may_hold_token = may_hold_token
        """Whether `body` may be the only copy of a new token: cut short, broken JSON, a token under an error."""
        self.before: Tokens = before  # type: ignore[assignment]
        """What was sent. (None in a pickle, as all that carries tokens.)"""

    def onto(self, stored: Tokens) -> Tokens:
        """`stored` as they are: no token could be read. Save `body`."""
        return stored


class CodeRefused(MeshRefreshError):
    """The MFA code was wrong or late. No token is spent, and `pending` is good still: ask the person for a new code."""

    _what = "The MFA code was refused."
    _next = (
        "No token is spent. Ask the person for the code once more and submit it with the same continuation (.pending)."
    )
    _carriers: ClassVar[tuple[str, ...]] = ("pending",)

    def __init__(
        self, what: str | None = None, *, facts: ReplyFacts | None = None, pending: MfaRequired | None = None
    ) -> None:
        super().__init__(what, facts=facts)
        # A strategy does not know the continuation; the client adds it before a caller gets the error.
        self.pending: MfaRequired = pending  # type: ignore[assignment]
        """The continuation that the code was for. (None in a pickle, as all that carries tokens.)"""


class MfaPending(MeshRefreshError):
    """A code is needed first. `pending` is the continuation, where this process has it."""

    _what = "The broker wants an MFA code."
    _next = "Nothing is lost while you keep the continuation. Ask the person for the code and submit it."
    _carriers: ClassVar[tuple[str, ...]] = ("pending",)

    def __init__(
        self,
        pending: MfaRequired | None = None,
        *,
        pending_id: str | None = None,
        display_message: str | None = None,
    ) -> None:
        super().__init__(facts=pending.reply.facts if pending else ReplyFacts(display_message=display_message))
        self.pending = pending
        self.pending_id = pending_id
        """The id of the question that the code answers, where a keeper has it."""


class AccountNotInReply(MeshRefreshError):
    """The exchange succeeded, but its reply does not say which tokens are those of the account that was asked for.

    It renewed only other accounts of the login, or it has several pairs and names no account. Save
    `outcome.all_tokens`, each with `outcome.onto`.
    """

    token_may_be_spent = True
    _what = "The exchange succeeded, but the reply does not say which tokens are of the account that was asked for."
    _next = (
        "The refresh token that was sent may be spent. Save .outcome.all_tokens, each with .outcome.onto, "
        "and give Tokens an account_id."
    )
    _carriers: ClassVar[tuple[str, ...]] = ("outcome",)

    def __init__(self, outcome: Refreshed) -> None:
        super().__init__(facts=outcome.reply.facts)
        self.outcome: Refreshed | None = outcome


Outcome = Refreshed | MfaRequired | UnreadableReply
"""Every result that may hold a live token. `on_outcome` is called with these."""


class NotSaved(MeshRefreshError):
    """A live token reached no `on_outcome`. Save the tokens of `outcomes` now, or the person must log in again."""

    token_may_be_spent = True
    _next = (
        "The tokens that were sent may be spent and the new ones are only on this error: save .outcome.all_tokens now "
        "(.outcome.body, where the outcome is an UnreadableReply)."
    )
    _carriers: ClassVar[tuple[str, ...]] = ("outcomes",)

    def __init__(self, what: str, outcomes: tuple[Outcome, ...]) -> None:
        super().__init__(what)
        self.outcomes: tuple[Outcome, ...] | None = outcomes
        """The outcomes with these tokens, the oldest first."""

    @property
    def outcome(self) -> Outcome:
        """The first of `outcomes`, often the only one. (None in a pickle, as all that carries tokens.)"""
        return self.outcomes[0] if self.outcomes else None  # type: ignore[return-value]
