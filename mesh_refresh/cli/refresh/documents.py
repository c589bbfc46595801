"""The documents that ``mesh-refresh refresh`` reads and writes."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from attrs import evolve, fields

from mesh_refresh import InvalidRequest, MfaRequired, Tokens, codec
from mesh_refresh.cli.refresh.accounts import AccountEntry, Accounts, with_ref
from mesh_refresh.cli.terminal.messages import Failure
from mesh_refresh.masking import MaskedDict, MaskedStr, concealed

_LOGIN = "login"
"""The key by which accounts of one login are known to belong together, beside the fields of a tokens document."""
_OWN = "mesh_refresh.own"
"""Where keys of the user's own are whose names are taken in these documents."""
_OF_A_CONTINUATION = ("before", "tokens", "all_tokens", "reply", "access_token", "brought")
_OF_TOKENS = tuple(it.name for it in fields(Tokens))
_RESERVED = frozenset({"format", "version", _LOGIN, *_OF_A_CONTINUATION, *_OF_TOKENS})


def read_book(text: bytes, obtained_at: datetime) -> Accounts:
    """The accounts in `text`: a Link payload, a tokens document, a continuation, or an array of these.

    Lifetimes in a Link payload count from `obtained_at`. Raises `Failure`, which shows nothing of the text.
    """
    value = concealed(_parsed(text))
    documents = value if isinstance(value, list) else [value]
    book = Accounts()
    for number, document in enumerate(documents, 1):
        where = f" (number {number} of the array)" if isinstance(value, list) else ""
        try:
            _add(book, document, obtained_at)
        except InvalidRequest as error:
            raise Failure(f"The input{where} cannot be used: {error}") from None
    if not book.entries:
        raise Failure("The input holds no account: it is an empty array.")
    return book


def documents_of(entries: Sequence[AccountEntry]) -> list[dict[str, Any]]:
    """A document for each account: its tokens, or the continuation that waits for a code."""
    return list(map(_document, entries))


def document_at(book: Accounts, place: int) -> dict[str, Any]:
    """The document of one account."""
    return _document(book.entries[place])


def text_of(documents: Sequence[Mapping[str, Any]]) -> bytes:
    """`documents` as a JSON array, which `read_book` reads."""
    return json.dumps(documents, indent=2).encode() + b"\n"


def _parsed(text: bytes) -> Any:
    value = codec.json_of(text)
    if value is None:
        raise Failure("The input is empty: it should be a Link payload or a tokens document, as JSON.")
    if isinstance(value, codec.Wrong):
        raise Failure("The input is not JSON: it should be a Link payload or a tokens document.")
    return value


def _add(book: Accounts, document: Any, obtained_at: datetime) -> None:
    found = codec.read_document(document) if isinstance(document, str) else document
    if not isinstance(found, dict):
        raise InvalidRequest("it is not a JSON object.")
    label = _label(found.get(_LOGIN))
    kind = found.get("format")
    if kind == "mesh_refresh.mfa_required":
        pending = continuation(found)
        book.add([pending.tokens], label, pending, own=[_own(found, label, _OF_A_CONTINUATION)])
    elif kind is not None or ("refresh_token" in found and not codec.is_link_payload(found)):
        book.add([Tokens.from_document(found)], label, own=[_own(found, label, _OF_TOKENS)])
    else:
        # A sandbox wraps the payload and calls the login by its id, which is a label as good as any.
        accounts = Tokens.from_link(found, obtained_at=obtained_at, ref=_label(found.get("ref")))
        book.add(accounts, label, own=[_own(it, label) for it in codec.unread_keys(found)])


def _own(found: Mapping[str, Any], label: str | int | None, read: Sequence[str] | None = None) -> MaskedDict:
    """The keys of `found` that are the user's own. They are written again, so that none is lost in place.

    `read` are the keys that a document of ours has. None: `found` is what a Link payload leaves.
    """
    known = {_LOGIN} if label is not None else set[str]()
    if read is not None:
        known |= {"format", "version", _OWN, *read}
    elif _label(found.get("ref")) is not None:
        known.add("ref")
    own = MaskedDict({key: found[key] for key in found if key not in known})
    inside = found.get(_OWN)
    if isinstance(inside, Mapping) and read is not None:
        own.update({key: inside[key] for key in inside})
    try:
        json.dumps(own)
    except TypeError:
        text = None
    else:
        text = ""
    if text is None:
        raise InvalidRequest("a key stands there twice, with different values.")
    return own


def continuation(document: dict[str, Any]) -> MfaRequired:
    """What `MfaRequired.to_json` wrote, and something has parsed. Raises `InvalidRequest`."""
    try:
        text = MaskedStr(json.dumps(document))
    except TypeError:
        text = None
    if text is None:
        raise InvalidRequest("This continuation cannot be read: a key stands there twice, with different values.")
    return MfaRequired.from_json(text)


def _label(value: object) -> str | int | None:
    return value if isinstance(value, str | int) and not isinstance(value, bool) else None


def _document(entry: AccountEntry) -> dict[str, Any]:
    if entry.pending is None:
        document = evolve(entry.tokens, ref=entry.ref).to_document()
    else:
        document = json.loads(with_ref(entry.pending, entry.ref).to_json())
    if entry.label is not None:
        document[_LOGIN] = entry.label
    hidden = {key: entry.own[key] for key in entry.own if key in _RESERVED or key in document}
    if hidden:
        document[_OWN] = hidden
    return document | {key: entry.own[key] for key in entry.own if key not in hidden}
