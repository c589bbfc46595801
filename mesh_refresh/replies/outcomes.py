"""What came of an exchange: outcomes that are expected are values, and the errors here carry one."""

from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Self

from attrs import evolve, field, fields, frozen, has

from mesh_refresh import codec
from mesh_refresh.blank import some
from mesh_refresh.errors import InvalidRequest, MeshRefreshError, OutcomeUnknown, ReplyFacts
from mesh_refresh.masking import MaskedBytes, MaskedDict, hides_locals, masked
from mesh_refresh.messages import BodyKind, HttpReply, Reply
from mesh_refresh.replies.brought import FIELDS, Brought, brought_fields
from mesh_refresh.replies.identity import contradicts, whose
from mesh_refresh.replies.saving import onto
from mesh_refresh.tokens import Tokens, check_format

_DOCUMENT = "mesh_refresh.mfa_required"
_VERSION = 1
_MOST_BITS = 63
"""Of a whole number that every JSON writer can write."""


@frozen
class Refreshed:
    """The exchange succeeded. Save every one of `all_tokens`, each with `onto`: the old ones may be spent."""

    before: Tokens
    """What was sent."""
    all_tokens: tuple[Tokens, ...]
    """Every account that the reply renewed, each with all that it left out carried over."""
    reply: Reply
    """The typed envelope, with accounts and balances."""
    asked: int | None = field(default=0, repr=False)
    """Where in `all_tokens` the account asked for is; None where the reply has it not."""
    read: tuple[Brought, ...] = field(default=(), repr=False)
    """For each of `all_tokens`, which of its fields the reply had. Reading the reply fills it in. See `brought`."""
    shared: int | None = field(default=None, repr=False)
    """Where in `all_tokens` a pair is that serves every account of the login: the reply has it several times, and names
    no account. None: there is no such pair."""

    @property
    def brought(self) -> tuple[frozenset[str], ...]:
        """For each of `all_tokens`, the names of its fields that are news; all others were carried over.

        News is what the reply had, and what a strategy has changed since.
        """
        return brought_fields(self.before, self.all_tokens, self.asked, self.read)

    def onto(self, stored: Tokens) -> Tokens:
        """What to save for the account of `stored`, which are the tokens that you keep for it.

        What the reply brought for this account replaces what is stored, and the rest of `stored` stays. A stored
        refresh token that equals the one just spent becomes the new one, also where the reply left the account out.
        Where you have nothing of an account yet, give its entry of `all_tokens`: that comes back as it is.
        """
        return onto(stored, self.before, self.all_tokens, self.asked, self.brought, shared=self.shared)

    @property
    def tokens(self) -> Tokens:
        """The account asked for. Raises `AccountNotInReply` where the reply renewed only others."""
        if self.asked is None:
            raise AccountNotInReply(self)
        return self.all_tokens[self.asked]

    def unwrap(self) -> Self:
        """This outcome: nothing more is needed."""
        return self


@frozen
class MfaRequired:
    """The broker wants a code. This is the continuation: it holds live tokens, so keep it where tokens are kept.

    Hand it to `MeshClient.submit_mfa` with the code, in this process or another one (`to_json`, `from_json`).
    """

    before: Tokens
    """What was sent."""
    tokens: Tokens
    """The old tokens, with whatever the first reply renewed."""
    all_tokens: tuple[Tokens, ...]
    """Every account that the first reply renewed; often none."""
    reply: Reply
    """The typed envelope."""
    access_token: str | None = field(default=None, repr=masked)
    """What the second request carries: the access token of the first reply, wherever the reply put it, or the one in
    force where the reply had none."""
    read: tuple[Brought, ...] = field(default=(), repr=False)
    """For each of `all_tokens`, which of its fields the reply had. Reading the reply fills it in. See `brought`."""

    @property
    def asked(self) -> int | None:
        """Where in `all_tokens` the account asked for is; None where the first reply has it not."""
        for index, tokens in enumerate(self.all_tokens):
            if tokens == self.tokens:
                return index
        named = whose(self.tokens, self.all_tokens)
        if named is None and len(self.all_tokens) == 1 and not contradicts(self.tokens, self.all_tokens[0]):
            return 0
        return named

    @property
    def brought(self) -> tuple[frozenset[str], ...]:
        """For each of `all_tokens`, the names of its fields that are news, as in `Refreshed.brought`."""
        return brought_fields(self.before, self.all_tokens, self.asked, self.read)

    def onto(self, stored: Tokens) -> Tokens:
        """What to save for the account of `stored`, as in `Refreshed.onto`. Often the first reply renews nothing."""
        return onto(stored, self.before, self.all_tokens, self.asked, self.brought)

    @property
    def display_message(self) -> str | None:
        """What Mesh suggests to show to the person."""
        return self.reply.display_message

    def unwrap(self) -> Refreshed:
        """Raises `MfaPending`: there is nothing to unwrap before the code was given."""
        raise MfaPending(self)

    def to_json(self) -> str:
        """The continuation as a JSON document, secrets in plain text. It has the reply's envelope, not its body."""
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
    brought: list[list[str]] = document.get("brought") or []  # documents of before have none
    return MfaRequired(
        Tokens.from_document(document["before"]),
        Tokens.from_document(document["tokens"]),
        all_tokens,
        _read_reply(MaskedDict(document["reply"])),
        some(access_token),
        tuple(Brought(FIELDS.intersection(names), it) for names, it in zip(brought, all_tokens, strict=False)),
    )


def _reply_document(reply: Reply) -> MaskedDict:
    """What is known of `reply` without its body, which may be of 16 MiB: the envelope again, with what was read of it.

    What the envelope says is scrubbed already of the secrets that it quoted.
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
    """Whether `value`, which has any shape, is JSON that can be written: what it is beside is worth more."""
    try:
        codec.dumps({"": value})
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _wire_value(value: Any) -> Any:
    """A message, or a part of one, as Mesh writes it; what is None is left out."""
    if has(type(value)):
        parts = ((it.name, getattr(value, it.name)) for it in fields(type(value)))
        return MaskedDict({_wire_name(name): _wire_value(part) for name, part in parts if part is not None})
    if isinstance(value, tuple):
        return [_wire_value(part) for part in value]
    if isinstance(value, timedelta):
        return value.total_seconds()
    if type(value) is int and value.bit_length() > _MOST_BITS:
        return str(value)  # an amount, which is read from text too
    return value


def _wire_name(name: str) -> str:
    first, *rest = (f"{name}_seconds" if name.endswith("expires_in") else name).split("_")
    return first + "".join(map(str.capitalize, rest))


class UnreadableReply(OutcomeUnknown):
    """An answer came, but not in a form that can be read. Its bytes are kept: they may be the only copy of a token."""

    _carriers: ClassVar[tuple[str, ...]] = ("body", "before")
    all_tokens: ClassVar[tuple[Tokens, ...]] = ()
    """Empty: none could be read. Like `brought` and `onto`, it is here so that hooks can treat all outcomes alike."""
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
        """What was received, decompressed where possible."""
        self.may_hold_token = may_hold_token
        """Whether `body` may be the only copy of a new token: cut short, broken JSON, a token under an error."""
        self.before: Tokens = before  # type: ignore[assignment]
        """What was sent. (None in a pickle, as all that carries tokens.)"""

    def onto(self, stored: Tokens) -> Tokens:
        """`stored` as they are: no token could be read. What is to be kept is `body`."""
        return stored


class CodeRefused(MeshRefreshError):
    """The MFA code was wrong or late. The tokens are as they were and `pending` is still good: ask for it again."""

    _what = "The MFA code was refused."
    _next = (
        "No token is spent. Ask the person for the code once more and submit it with the same continuation (.pending)."
    )
    _carriers: ClassVar[tuple[str, ...]] = ("pending",)

    def __init__(
        self, what: str | None = None, *, facts: ReplyFacts | None = None, pending: MfaRequired | None = None
    ) -> None:
        super().__init__(what, facts=facts)
        # A strategy does not know the continuation; the client adds it before anybody sees the error.
        self.pending: MfaRequired = pending  # type: ignore[assignment]
        """The continuation that the code was for. (None in a pickle, as all that carries tokens.)"""


class MfaPending(MeshRefreshError):
    """A code is needed before there are fresh tokens. `pending` is the continuation, where this process has it."""

    _what = "The broker wants an MFA code."
    _next = "Nothing is lost while you keep the continuation. Ask the person for the code and submit it."
    _carriers: ClassVar[tuple[str, ...]] = ("pending",)

    def __init__(self, pending: MfaRequired | None = None, *, pending_id: str | None = None) -> None:
        super().__init__(facts=pending.reply.facts if pending else None)
        self.pending = pending
        self.pending_id = pending_id
        """Which question the code answers, where a keeper asked it."""


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
"""Everything that may hold a live token, and so everything that `on_outcome` is given."""


class NotSaved(MeshRefreshError):
    """A live token reached no `on_outcome`: save what `outcomes` hold, now, or the person must log in again."""

    token_may_be_spent = True
    _next = (
        "The tokens that were sent may be spent and the new ones are only on this error: save .outcome.all_tokens now "
        "(.outcome.body, where the outcome is an UnreadableReply)."
    )
    _carriers: ClassVar[tuple[str, ...]] = ("outcomes",)

    def __init__(self, what: str, outcomes: tuple[Outcome, ...]) -> None:
        super().__init__(what)
        self.outcomes: tuple[Outcome, ...] | None = outcomes
        """Each of them, the oldest first."""

    @property
    def outcome(self) -> Outcome:
        """The one, or the first, of `outcomes`. (None in a pickle, as all that carries tokens.)"""
        return self.outcomes[0] if self.outcomes else None  # type: ignore[return-value]
