"""The documents that ``mesh-refresh refresh`` reads and writes."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from attrs import evolve

from mesh_refresh import InvalidRequest, MfaRequired, Tokens, codec
from mesh_refresh.cli.lines import Failure
from mesh_refresh.cli.refresh.accounts import Book, Entry, with_ref
from mesh_refresh.masking import MaskedStr, concealed

_LOGIN = "login"
"""The key by which accounts of one login are known to belong together, beside the fields of a tokens document."""


def read_book(text: bytes, obtained_at: datetime) -> Book:
    """The accounts in `text`: a Link payload, a tokens document, a continuation, or an array of these.

    Lifetimes in a Link payload count from `obtained_at`. Raises `Failure`, which shows nothing of the text.
    """
    value = concealed(_parsed(text))
    documents = value if isinstance(value, list) else [value]
    book = Book()
    for number, document in enumerate(documents, 1):
        where = f" (number {number} of the array)" if isinstance(value, list) else ""
        try:
            _add(book, document, obtained_at)
        except InvalidRequest as error:
            raise Failure(f"The input{where} cannot be used: {error}") from None
    if not book.entries:
        raise Failure("The input holds no account: it is an empty array.")
    return book


def documents_of(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """A document for each account: its tokens, or the continuation that waits for a code."""
    return list(map(_document, entries))


def document_at(book: Book, place: int) -> dict[str, Any]:
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


def _add(book: Book, document: Any, obtained_at: datetime) -> None:
    found = codec.read_document(document) if isinstance(document, str) else document
    if not isinstance(found, dict):
        raise InvalidRequest("it is not a JSON object.")
    label = _label(found.get(_LOGIN))
    kind = found.get("format")
    if kind == "mesh_refresh.mfa_required":
        pending = continuation(found)
        book.add([pending.tokens], label, pending)
    elif kind is not None or ("refresh_token" in found and not codec.is_link_payload(found)):
        book.add([Tokens.from_document(found)], label)
    else:
        # A sandbox wraps the payload and calls the login by its id, which is a label as good as any.
        book.add(list(Tokens.from_link(found, obtained_at=obtained_at)), label)


def continuation(document: dict[str, Any]) -> MfaRequired:
    """What `MfaRequired.to_json` wrote, and something has parsed. Raises `InvalidRequest`."""
    try:
        text = MaskedStr(json.dumps(document))
    except TypeError:
        text = None
    if text is None:
        raise InvalidRequest("This continuation cannot be read: a key stands there twice, with different values.")
    return MfaRequired.from_json(text)


def _label(value: object) -> str | None:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None


def _document(entry: Entry) -> dict[str, Any]:
    if entry.pending is None:
        document = evolve(entry.tokens, ref=entry.ref).to_document()
    else:
        document = json.loads(with_ref(entry.pending, entry.ref).to_json())
    if entry.label is not None:
        document[_LOGIN] = entry.label
    return document
