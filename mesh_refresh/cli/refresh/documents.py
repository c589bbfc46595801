"""Reads and writes the documents of ``mesh-refresh refresh``."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from attrs import evolve, fields

from mesh_refresh import InvalidRequest, MfaRequired, Tokens, codec
from mesh_refresh.cli.refresh.accounts import AccountEntry, Accounts, with_ref
from mesh_refresh.cli.terminal.messages import Failure
from mesh_refresh.masking import MaskedDict, MaskedStr, concealed
from mesh_refresh.replies.lineage import Credential, refresh_token_of

_LOGIN = "login"
"""The key with the label of a login, beside the fields of a tokens document: its accounts have the same."""
_OWN = "mesh_refresh.own"
"""The key with those of the user's own keys whose names these documents use themselves."""
_OF_A_CONTINUATION = ("before", "tokens", "all_tokens", "reply", "access_token", "brought")
_OF_TOKENS = tuple(attribute.name for attribute in fields(Tokens))
_RESERVED = frozenset({"format", "version", _LOGIN, *_OF_A_CONTINUATION, *_OF_TOKENS})


def read_accounts(text: bytes, obtained_at: datetime, credential: Credential = refresh_token_of) -> Accounts:
    """Read the accounts in `text`: a Link payload, a tokens document, a continuation, or an array of these.

    Lifetimes in a Link payload count from `obtained_at`; `credential` gives what an exchange of tokens spends. Raises
    `Failure`, which quotes nothing of the text.
    """
    value = concealed(_parse(text))
    documents = value if isinstance(value, list) else [value]
    accounts = Accounts(credential)
    for number, document in enumerate(documents, 1):
        where = f" (number {number} of the array)" if isinstance(value, list) else ""
        try:
            _add(accounts, document, obtained_at)
        except InvalidRequest as error:
            raise Failure(f"The input{where} cannot be used: {error} Nothing was sent.") from None
    if not accounts.entries:
        raise Failure("The input is an empty array. Nothing was sent.")
    return accounts


def text_of(documents: Sequence[Mapping[str, Any]]) -> bytes:
    """`documents` as a JSON array, which `read_accounts` reads."""
    return json.dumps(documents, indent=2).encode() + b"\n"


def _parse(text: bytes) -> Any:
    value = codec.json_of(text)
    if value is None:
        raise Failure("The input is empty. Nothing was sent. Give a Link payload or a tokens document, as JSON.")
    if isinstance(value, codec.Wrong):
        raise Failure("The input is not JSON. Nothing was sent. Give a Link payload or a tokens document.")
    return value


def _add(accounts: Accounts, document: Any, obtained_at: datetime) -> None:
    found = codec.read_document(document) if isinstance(document, str) else document
    if not isinstance(found, dict):
        raise InvalidRequest("it is not a JSON object.")
    label = _label(found.get(_LOGIN))
    kind = found.get("format")
    if kind == "mesh_refresh.mfa_required":
        pending = continuation(found)
        accounts.add([pending.tokens], label, pending, own=[_own(found, label, _OF_A_CONTINUATION)])
    elif kind is not None or ("refresh_token" in found and not codec.is_link_payload(found)):
        accounts.add([Tokens.from_document(found)], label, own=[_own(found, label, _OF_TOKENS)])
    else:
        # The sandbox wraps the payload, and names the login by its id there.
        found_tokens = Tokens.from_link(found, obtained_at=obtained_at, ref=_label(found.get("ref")))
        accounts.add(found_tokens, label, own=[_own(keys, label) for keys in codec.unread_keys(found)])


def _own(found: Mapping[str, Any], label: str | int | None, read: Sequence[str] | None = None) -> MaskedDict:
    """The keys of `found` that are the user's own. The output has them again, so that a refresh in place loses none.

    `read` are the keys of our own documents. None: `found` is what is left of a Link payload.
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
    _json_of(own)
    return own


def continuation(document: dict[str, Any]) -> MfaRequired:
    """Read a document of `MfaRequired.to_json` that has been parsed. Raises `InvalidRequest`."""
    return MfaRequired.from_json(_json_of(document))


def _json_of(document: Mapping[str, Any]) -> MaskedStr:
    """The text of `document`. Raises `InvalidRequest` for a key that stands there twice with different values."""
    with suppress(TypeError):  # the error is raised outside: it must not carry the document as its context
        return MaskedStr(json.dumps(document))
    raise InvalidRequest("a key stands there twice, with different values.")


def _label(value: object) -> str | int | None:
    return value if isinstance(value, str | int) and not isinstance(value, bool) else None


def document_of(entry: AccountEntry) -> dict[str, Any]:
    """The document of an account: its tokens, or its continuation while it waits for a code."""
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
