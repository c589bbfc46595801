"""One attempt, and what came of it, as values. Pure. See docs/decisions/the-keeper.md.

`to_text` and `from_text` are the format of the spool's files.
"""

from collections.abc import Callable
from datetime import datetime

from attrs import field, fields, frozen

from mesh_refresh import codec
from mesh_refresh.errors import InvalidRequest
from mesh_refresh.logins import Account, Login
from mesh_refresh.logins.documents import body_from_text, body_to_text, values_of
from mesh_refresh.masking import MaskedDict, MaskedList, masked, masked_size
from mesh_refresh.replies.brought import ACCESS, FIELDS
from mesh_refresh.replies.lineage import Credential, refresh_token_of
from mesh_refresh.replies.outcomes import MfaRequired, Refreshed, UnreadableReply
from mesh_refresh.tokens import Tokens, check_format

_DOCUMENT = "mesh_refresh.settlement"
_VERSION = 1


@frozen
class Attempt:
    """What is sent, for which account, and what the login had at that time. Made before the bytes go out."""

    login_id: str
    login_epoch: str
    number: int
    """The store counts it: each claim of the login has a higher one."""
    epoch: str
    """The epoch of the account that is exchanged."""
    spent: str | None = field(repr=masked)
    """The credential that is sent: what this exchange spends."""
    seen: tuple[tuple[str, str | None], ...] = field(repr=lambda value: f"<{len(value)}>")
    """The epoch and the credential of every account of the login at that time."""
    begun_at: datetime
    with_code: str | None = None
    """The id of the question that is answered, where this is the second request of an MFA."""
    new_refresh_token: bool = False
    """A new refresh token was asked for."""

    @classmethod
    def of(
        cls,
        login: Login,
        account: Account,
        now: datetime,
        *,
        code_for: str | None = None,
        renew: bool = False,
        credential: Credential = refresh_token_of,
    ) -> "Attempt":
        """The attempt to exchange `account` of `login`, which was just claimed."""
        seen = tuple((known.epoch, credential(known.tokens)) for known in login.accounts)
        return cls(
            login.login_id,
            login.epoch,
            login.attempt,
            account.epoch,
            credential(account.tokens),
            seen,
            now,
            code_for,
            renew,
        )


@frozen
class ReplyEntry:
    """One account's tokens in a reply."""

    tokens: Tokens
    brought: frozenset[str]
    """The fields of `tokens` that the reply itself had; the others were carried over."""
    asked: bool = False

    @property
    def brought_access(self) -> bool:
        """Whether the reply had an access token (or token id) for it."""
        return not self.brought.isdisjoint(ACCESS)


@frozen
class Success:
    """Fresh tokens came."""

    entries: tuple[ReplyEntry, ...]
    shared: int | None = None
    """The entry that serves every account of the login. See `Refreshed.shared`."""


@frozen
class CodeWanted:
    """The broker wants a code; perhaps the first reply renewed tokens already."""

    entries: tuple[ReplyEntry, ...]
    refresh_token: str | None = field(repr=masked)
    """The account's new refresh token. None: the old one stays."""
    refresh_token_expires_at: datetime | None
    document: str = field(repr=masked)
    """The continuation."""
    pending_id: str
    display_message: str | None = None


@frozen
class Unreadable:
    """A reply that may hold the only live token, and cannot be read."""

    body: bytes = field(repr=masked_size)
    display_message: str | None = None
    late: bool = False
    """It came after the exchange of the attempt, whose own outcome is another one."""


ExchangeResult = Success | CodeWanted | Unreadable
"""A result that may hold a live token, and so must reach the store or the spool."""


def result_of(outcome: Refreshed | MfaRequired | UnreadableReply, names: Callable[[], str]) -> ExchangeResult:
    """The result that `outcome` is. `names` gives a question an id that was never used."""
    if isinstance(outcome, UnreadableReply):
        return Unreadable(outcome.body, outcome.display_message)
    entries = _entries(outcome)
    if isinstance(outcome, Refreshed):
        return Success(entries, outcome.shared)
    is_new = outcome.tokens.refresh_token != outcome.before.refresh_token
    return CodeWanted(
        entries,
        outcome.tokens.refresh_token if is_new else None,
        outcome.tokens.refresh_token_expires_at if is_new else None,
        outcome.to_json(),
        names(),
        outcome.display_message,
    )


def _entries(outcome: Refreshed | MfaRequired) -> tuple[ReplyEntry, ...]:
    asked = outcome.asked
    return tuple(
        ReplyEntry(tokens, brought, index == asked)
        for index, (tokens, brought) in enumerate(zip(outcome.all_tokens, outcome.brought, strict=True))
    )


# As text, for the spool.


def to_text(attempt: Attempt, result: ExchangeResult) -> str:
    """Both as a JSON document, secrets in plain text."""
    document = MaskedDict(format=_DOCUMENT, version=_VERSION, **values_of(attempt))
    if isinstance(result, Unreadable):
        document["unreadable"] = MaskedDict(values_of(result), body=body_to_text(result.body))
        return codec.dumps(document)
    document["entries"] = [
        MaskedDict(tokens=entry.tokens.to_document(), brought=sorted(entry.brought), asked=entry.asked)
        for entry in result.entries
    ]
    if isinstance(result, Success):
        document["shared"] = result.shared
    else:
        document["code"] = MaskedDict(values_of(result))
        del document["code"]["entries"]
    return codec.dumps(document)


class NewerVersion(InvalidRequest):
    """A settlement that a later mesh_refresh wrote."""


def from_text(text: str) -> tuple[Attempt, ExchangeResult]:
    """What `to_text` wrote. Raises `NewerVersion`, and `InvalidRequest` for anything else."""
    document = codec.loads(text)
    del text
    if document is None:
        raise InvalidRequest("This is no settlement: it is not a JSON object.")
    if _is_newer(document):
        del document  # a traceback may be rendered with its locals
        raise NewerVersion("It was written by a newer version of mesh_refresh.")
    check_format(document, _DOCUMENT, _VERSION)
    try:
        return _attempt(document), _result(document)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        wrong = type(error).__name__
    raise InvalidRequest(f"This settlement is damaged ({wrong}): a part of it is missing or of another type.")


def _is_newer(document: MaskedDict) -> bool:
    number = document.get("version")
    return document.get("format") == _DOCUMENT and type(number) is int and number > _VERSION


def _attempt(document: MaskedDict) -> Attempt:
    values = MaskedDict({field.name: document[field.name] for field in fields(Attempt)})
    if not all(isinstance(values[name], str) for name in ("login_id", "login_epoch", "epoch", "begun_at")):
        raise TypeError
    if type(values["number"]) is not int:
        raise TypeError
    values["seen"] = tuple((epoch, token) for epoch, token in values["seen"])
    values["begun_at"] = datetime.fromisoformat(values["begun_at"])
    return Attempt(**values)


def _result(document: MaskedDict) -> ExchangeResult:
    if "unreadable" in document:
        unreadable = MaskedDict(document["unreadable"])
        return Unreadable(
            body_from_text(unreadable["body"]), unreadable["display_message"], late=unreadable["late"] is True
        )
    entries = tuple(
        ReplyEntry(Tokens.from_document(entry["tokens"]), FIELDS.intersection(entry["brought"]), entry["asked"])
        for entry in MaskedList(document["entries"])
    )
    if "code" not in document:
        if (shared := document["shared"]) is not None:
            _ = entries[shared]
        return Success(entries, shared)
    code = MaskedDict(document["code"])
    if code["refresh_token_expires_at"] is not None:
        code["refresh_token_expires_at"] = datetime.fromisoformat(code["refresh_token_expires_at"])
    return CodeWanted(entries, **code)
