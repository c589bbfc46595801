"""Reading the payload that Link hands over, strictly: a part that has or dates a token is read, or an error names it.

Names may be in another case, and with underscores, hyphens or blanks, as databases and serializers rewrite them.

Source: https://docs.meshconnect.com/guides/web-sdk
"""

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from attrs import evolve, frozen

from mesh_refresh.codec.plain import Wrong, folded, is_absent, is_text, lifetime_of, list_of, named, object_of, text_of
from mesh_refresh.enums import BrokerType, known
from mesh_refresh.masking import MaskedDict
from mesh_refresh.messages import BrokerAccount, BrokerAccountTokens, LinkPayload

_T = TypeVar("_T")

_WRAPPERS = ("payload", "accessTokenPayload", "accessToken", "delayedAuth")
_TOKENS = ("accessToken", "refreshToken", "tokenId")
_IDS = ("accountId", "meshAccountId")
_OF_ACCOUNT = (*_IDS, "accountName")
_ENDS = ("expiresInSeconds", "refreshTokenExpiresInSeconds")
_OTHER_END = re.compile(
    r"(access|refresh)?(token)?(expires|expiry|expiration)(at|on|in|by|date|time|stamp|utc|m?s|\w*seconds)*"
)
"""A folded name that dates a token in another way than Link does, or the token of one account."""
_PATH = re.compile(r"[.\[\]/:]+")
"""What separates the parts of a flattened name."""
_AROUND = ("brokerType", "brokerName", *_ENDS, "tradeToken")
"""Names that may stand around the payload, in a row of the caller's, where the payload has them not."""
_NAMES = {
    spelled: name
    for name in (*_WRAPPERS, *_TOKENS, *_OF_ACCOUNT, *_AROUND, "accountTokens", "account", "brokerAccountTokens")
    for spelled in (name.lower(), name)
}
_BRAND = "brokerBrandInfo"
"""A name of Link that is not read."""
_ALL_NAMES = {**_NAMES, _BRAND.lower(): _BRAND}
_DEEPEST = 8
_NO_PAYLOAD = "This is not a Link payload: "
_LIST = "is a list, not a JSON object"
_ONE_BY_ONE = " Hand over the payloads in it one at a time."
_FORMATS = {
    "mesh_refresh.tokens": "a tokens document: Tokens.from_json reads it, or Tokens.from_document",
    "mesh_refresh.mfa_required": "a continuation: MfaRequired.from_json reads it",
}


class _RefusedError(Exception):
    """The payload cannot be read, for the reason that is its one argument. It does not leave this module."""


@frozen
class _Level:
    """The payload itself, and whether it stood under ``delayedAuth``."""

    values: MaskedDict
    delayed: bool = False


def read_link_payload(payload: object) -> LinkPayload | str:
    """Read Link's ``accessTokenPayload`` or ``delayedAuth``, or one flat account, bare or inside a wrapper.

    Gives a sentence instead, which says why, where `payload` is none of these, names no broker, has no token, or has a
    part that cannot be read. Never raises.
    """
    try:
        return _read(payload)
    except _RefusedError as refusal:
        return str(refusal)
    except Exception as error:  # noqa: BLE001 - a mapping of the caller's may raise anything, with secrets in its frames
        return f"The Link payload cannot be read: its type raised {type(error).__name__}."


def is_link_payload(document: Mapping[str, Any]) -> bool:
    """Whether `document` is a Link payload: it has a name that only Link uses, and no "format" as ours have."""
    names = named(document, _NAMES)
    return "format" not in names and any(name in names for name in ("brokerType", "accountTokens", *_WRAPPERS))


def unread_keys(payload: object) -> tuple[MaskedDict, ...]:
    """For each account that `read_link_payload` finds in `payload`: the caller's own keys, around and beside it.

    Keys that Link writes, such as the broker's logo, are left out. A repeated key with different values has a `Wrong`.
    """
    found = object_of(payload)
    around = MaskedDict()
    level = found if isinstance(found, MaskedDict) else MaskedDict()
    while (inner := _inside(level)) is not None:
        around.update(_others(level, (*_WRAPPERS, *_AROUND)))
        level = inner
    around.update(_others(level, (*_AROUND, *_TOKENS, *_OF_ACCOUNT, _BRAND, "account", "accountTokens")))
    items = list_of(named(level, _NAMES).get("accountTokens"))
    entries = [object_of(item) for item in items or ()] if not isinstance(items, Wrong) else []
    with_tokens = [entry for entry in entries if isinstance(entry, MaskedDict) and _has_token(named(entry, _NAMES))]
    beside = [_others(entry, (*_TOKENS, *_OF_ACCOUNT, "account")) for entry in with_tokens]
    return tuple(MaskedDict({**around, **others}) for others in beside) or (around,)


def _inside(level: MaskedDict) -> MaskedDict | None:
    """The object in the wrapper of this level; None where this is the payload itself."""
    names = named(level, _NAMES)
    return next((item for name in _WRAPPERS if (item := _wrapped(names, name)) is not None), None)


def _others(level: MaskedDict, read: tuple[str, ...]) -> MaskedDict:
    """The keys of `level` that are not in `read`, with their values."""
    spelled = {key: next(iter(named({key: None}, _ALL_NAMES))) for key in level}
    return MaskedDict({key: level[key] for key in level if spelled[key] not in read})


def _has_token(entry: MaskedDict) -> bool:
    return any(not is_absent(entry.get(name)) for name in _TOKENS)


def _read(payload: object) -> LinkPayload:
    found = object_of(payload)
    if found is None:
        raise _RefusedError(f"{_NO_PAYLOAD}it is empty, not a JSON object.")
    if isinstance(found, Wrong):
        raise _RefusedError(f"{_NO_PAYLOAD}it {found.why}.{_ONE_BY_ONE if found.why == _LIST else ''}")
    level = _unwrapped(found)
    values = level.values
    broker = _broker(values, found)
    _refuse_flattened(values)
    _refuse_other_ends(values, values, "")
    listed = list(_listed(values))
    top = _account(values, "")
    accounts = _joined(listed, top)
    first = accounts[0]
    ends, refresh_ends = (_lifetime(values, name) for name in _ENDS)
    trade_token = _text(values, "tradeToken", "")
    nothing_else = not listed and first.account is None and trade_token is None
    alone = first.access_token is None and first.token_id is None
    return LinkPayload(
        known(BrokerType, broker),
        accounts,
        ends,
        refresh_ends,
        delayed=len(accounts) == 1 and alone and (nothing_else or level.delayed),
        trade_token=trade_token,
        broker_name=_name(values, "brokerName"),
    )


def _unwrapped(found: MaskedDict, depth: int = 0, *, delayed: bool = False) -> _Level:
    """The payload in `found`: `found` itself, or the object in a wrapper in it."""
    _refuse_format(found)
    level = named(found, _NAMES)
    inside = {name: item for name in _WRAPPERS if (item := _wrapped(level, name)) is not None}
    if not inside:
        return _Level(level, delayed)
    if len(inside) > 1:
        raise _RefusedError(f"The Link payload is more than one: {', '.join(inside)}.{_ONE_BY_ONE}")
    (name,) = inside
    if beside := [key for key in ("accountTokens", *_TOKENS) if key != name and not is_absent(level.get(key))]:
        raise _RefusedError(
            f"The Link payload is two: tokens stand in {name} and beside it, as {beside[0]}.{_ONE_BY_ONE}"
        )
    if depth == _DEEPEST:
        raise _RefusedError(f"{_NO_PAYLOAD}it is wrapped too deep.")
    inner = named(inside[name], _NAMES)
    for key in _AROUND:
        if is_absent(inner.get(key)) and not is_absent(level.get(key)):
            inner[key] = level[key]
    return _unwrapped(inner, depth + 1, delayed=name == "delayedAuth")


def _wrapped(level: MaskedDict, name: str) -> MaskedDict | None:
    """The object under `name`; None where there is none."""
    value = level.get(name)
    if is_absent(value):
        return None
    whole = not is_absent(level.get("brokerType"))
    if name == "accessToken" and whole and is_text(value):
        return None  # the access token of a flat account, also where its text is JSON
    item = object_of(value)
    if not isinstance(item, Wrong):
        return item
    if name == "accessToken" and item.why != _LIST:
        return None  # it is read as a token, and an error names it where it is none
    if whole and any(not is_absent(level.get(key)) for key in ("accountTokens", *_TOKENS)):
        return None  # a column of the caller's, which has that name by chance
    raise _RefusedError(f"{_NO_PAYLOAD}{name} {item.why}.{_ONE_BY_ONE if item.why == _LIST else ''}")


def _refuse_format(found: MaskedDict) -> None:
    """Refuse the documents of this package, which other functions read."""
    value = found.get("format")
    if is_text(value) and (name := text_of(value)) in _FORMATS:
        raise _RefusedError(f"{_NO_PAYLOAD}it is {_FORMATS[str(name)]}.")


def _broker(values: MaskedDict, outer: MaskedDict) -> str:
    broker = _text(values, "brokerType", "")
    if broker is not None:
        return broker
    if "brokerAccountTokens" in values or "content" in outer:
        raise _RefusedError(f"{_NO_PAYLOAD}brokerType is missing. It looks like a reply of Mesh's refresh endpoint.")
    if "type" in outer:
        raise _RefusedError(
            f"{_NO_PAYLOAD}brokerType is missing. Of Link's events, only integrationConnected has tokens."
        )
    if {"broker", "refresh_token"} <= outer.keys():
        raise _RefusedError(f"{_NO_PAYLOAD}brokerType is missing. Make Tokens(broker, refresh_token, ...) of columns.")
    raise _RefusedError(f"{_NO_PAYLOAD}brokerType is missing.")


def _listed(values: MaskedDict) -> Iterator[BrokerAccountTokens]:
    """The accounts in the list, with tokens or without."""
    items = _readable(list_of(values.get("accountTokens")), " holds no token that can be read: accountTokens") or []
    for number, item in enumerate(items):
        path = f"accountTokens[{number}]"
        if isinstance(item, int | float):
            continue  # holds nothing, as null does
        entry = _readable(object_of(item), f" holds an account that cannot be read: {path}")
        if entry is not None:
            entry = named(entry, _NAMES)
            if entry and len(items) == 1 and not any(name in entry for name in ("account", *_TOKENS, *_IDS)):
                raise _RefusedError(f"The Link payload holds no token that can be read: {path} has no name of Link's.")
            _refuse_other_ends(entry, values, f"{path}.")
            yield _account(entry, f"{path}.")


def _account(entry: MaskedDict, path: str) -> BrokerAccountTokens:
    """An account, whose ids and name stand under ``account`` or, where it is flat, beside its tokens."""
    account = _readable(object_of(entry.get("account")), f"'s {path}account")
    inner = MaskedDict() if account is None else named(account, _NAMES)
    ids = [_text(inner, name, f"{path}account.") or _text(entry, name, path) for name in _IDS]
    name = _name(inner, "accountName") or _name(entry, "accountName")
    refresh_token, access_token, token_id = (
        _text(entry, name, path) for name in ("refreshToken", "accessToken", "tokenId")
    )
    return BrokerAccountTokens(
        BrokerAccount(account_id=ids[0], mesh_account_id=ids[1], account_name=name) if any((*ids, name)) else None,
        access_token,
        refresh_token,
        token_id,
    )


def _joined(listed: list[BrokerAccountTokens], top: BrokerAccountTokens) -> tuple[BrokerAccountTokens, ...]:
    """The accounts with tokens: those of the list, or the flat one. An account that stands in both places is one."""
    accounts = tuple(entry for entry in listed if entry.has_token)
    beside = _beside(top, accounts)
    if not beside:
        if not accounts:
            raise _RefusedError(
                "The Link payload holds no token: accountTokens is missing or empty, and so is refreshToken."
            )
        return accounts
    if len(listed) > 1 or not _agree(listed[0] if listed else top, top):
        raise _RefusedError(
            f"The Link payload has {beside[0]} beside accountTokens, and in none of the accounts there: "
            "whose it is cannot be told."
        )
    one = listed[0] if listed else top
    return (
        BrokerAccountTokens(
            _either(one.account, top.account),
            one.access_token or top.access_token,
            one.refresh_token or top.refresh_token,
            one.token_id or top.token_id,
        ),
    )


def _beside(top: BrokerAccountTokens, accounts: tuple[BrokerAccountTokens, ...]) -> list[str]:
    """The names of the tokens at the top that none of `accounts` has."""
    at_top, in_accounts = _tokens_of(top), [_tokens_of(entry) for entry in accounts]
    return [name for name in _TOKENS if at_top[name] not in (None, *(tokens[name] for tokens in in_accounts))]


def _tokens_of(entry: BrokerAccountTokens) -> dict[str, str | None]:
    return dict(zip(_TOKENS, (entry.access_token, entry.refresh_token, entry.token_id), strict=True))


def _agree(one: BrokerAccountTokens, top: BrokerAccountTokens) -> bool:
    """Whether both can be the same account: no field that both have differs."""
    ids = tuple(None if has.account is None else _ids_of(has.account) for has in (one, top))
    pairs = [*zip(_tokens_of(one).values(), _tokens_of(top).values(), strict=True), ids]
    return all(first == second for first, second in pairs if first is not None and second is not None)


def _ids_of(account: BrokerAccount) -> tuple[str | None, str | None]:
    return account.account_id, account.mesh_account_id


def _either(one: BrokerAccount | None, top: BrokerAccount | None) -> BrokerAccount | None:
    """The account, which may stand in both places, with its ids or its name in one of them."""
    if one is None or top is None:
        return one or top
    return evolve(one if any(_ids_of(one)) else top, account_name=one.account_name or top.account_name)


def _refuse_other_ends(entry: MaskedDict, values: MaskedDict, path: str) -> None:
    """Refuse an end of tokens under a name that is not read, where Link's own name for it is missing."""
    for name in entry:
        if name in _NAMES and name not in _ENDS:
            continue
        plain = folded(name)
        if not _OTHER_END.fullmatch(plain) or (entry is values and name in _ENDS):
            continue
        wanted = _ENDS[plain.startswith("refresh")]
        if not is_absent(entry[name]) and is_absent(values.get(wanted)):
            raise _RefusedError(
                f"The Link payload has {path}{name}, and no {wanted}: make Tokens of it, with their end."
            )


def _refuse_flattened(values: MaskedDict) -> None:
    """Refuse a token or an id under a flattened name, as tables write nested fields."""
    for name in values:
        if name.isalnum():
            continue  # one part, as nearly always
        parts = [part for part in _PATH.split(name) if part]
        read_as = _NAMES.get(folded(parts[-1])) if len(parts) > 1 else None
        if read_as in (*_TOKENS, *_IDS) and not is_absent(values[name]):
            raise _RefusedError(
                f"The Link payload is flattened: it has {read_as} under a name of {len(parts)} parts. "
                "Hand it over nested, as Link did."
            )


def _text(values: MaskedDict, name: str, path: str) -> str | None:
    return _readable(text_of(values.get(name)), f"'s {path}{name}")


def _name(values: MaskedDict, name: str) -> str | None:
    """A name for people, which decides nothing: one that cannot be read counts as absent."""
    found = text_of(values.get(name))
    return None if found is None or isinstance(found, Wrong) else found.encode(errors="replace").decode()


def _lifetime(values: MaskedDict, name: str) -> timedelta | None:
    return _readable(lifetime_of(values.get(name)), f"'s {name}")


def _readable(found: _T | Wrong, what: str) -> _T:
    """`found`, which is not wrong. The error names `what` of the payload is."""
    if isinstance(found, Wrong):
        raise _RefusedError(f"The Link payload{what} {found.why}.")
    return found
