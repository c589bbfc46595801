"""Whatever bytes come back: an outcome or a `MeshRefreshError`, and no token that stood in its place is dropped."""

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mesh_refresh import (
    DefaultStrategy,
    HttpReply,
    MeshRefreshError,
    MfaRequired,
    Refreshed,
    RefreshOptions,
    Reply,
    Tokens,
    UnreadableReply,
    codec,
)
from tests.examples import bounded
from tests.replies.wire_replies import (
    AT,
    CODE,
    OLD,
    PAIR,
    content,
    decoded,
    entry,
    envelope,
    pending,
    refreshed,
    refusal,
)

pytestmark = pytest.mark.once

NAMES = ["content", "status", "brokerAccountTokens", "account", "accessToken", "refreshToken", "tokenId", "accountId",
         "meshAccountId", "expiresInSeconds", "refreshTokenExpiresInSeconds", "errorData", "message", "errorType",
         "balances", "cash", "title", "teamCode"]  # fmt: skip
WORDS = ["ok", "failed", "succeeded", "mfaRequired", "badRequest", "serverFailure", "missingField", "A", "B", "",
         " ", "\x00", "\u200b\t", *OLD.secrets, f"unheard of: {OLD.refresh_token}", CODE]  # fmt: skip
LEAVES = (
    st.none() | st.booleans() | st.floats() | st.integers() | st.integers(-(10**40), 10**40)
    | st.sampled_from(WORDS) | st.text(st.characters(), max_size=5)
)  # fmt: skip
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(st.characters(), max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)
HTTP = st.sampled_from([200, 200, 200, 201, 100, 302, 400, 401, 403, 408, 409, 423, 429, 451, 500, 503, 599, 999])
ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])

VALID: dict[str, Any] = envelope(
    content(
        entry("A", "MA", accessToken="fake-access-a", refreshToken="fake-refresh-a", tokenId="fake-id-a"),
        {"account": {"accountId": "B", "balances": [{"symbol": "USD", "cash": 1.5}]}, "accessToken": "fake-access-b",
         "refreshToken": "fake-refresh-b"},
        accessToken="fake-access-top", refreshToken="fake-refresh-top", account={"accountId": "A"},
        expiresInSeconds=3600, refreshTokenExpiresInSeconds=86_400, errorMessage=None,
    ),
    displayMessage=None, errorData={"a": [1]}, teamCode="A7",
)  # fmt: skip


def parsed(body: bytes) -> dict[str, Any]:
    """`body` as the standard library reads it; nothing where it is no object with content."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) and isinstance(value.get("content"), dict) else {}


def planted(body: bytes) -> set[str]:
    """The oracle: every token that stands in its place in `body`, read with nothing but the standard library."""
    inner = parsed(body).get("content", {})
    entries = inner.get("brokerAccountTokens")
    listed = entries if isinstance(entries, list) else [entries]
    entries_with = [found for it in listed if isinstance(it, dict) and (found := _tokens_at(it))]
    top = {name: token for name, token in _tokens_at(inner).items() if name != "tokenId"}  # has no place there
    if len(entries_with) == 1 and all(_is_nameless(it) for it in listed if isinstance(it, dict) and _tokens_at(it)):
        # One account without a name, written twice: where the strings differ, the list's counts, unless it was sent.
        own = {name: token for name, token in entries_with[0].items() if token not in OLD.secrets}
        top = {name: token for name, token in top.items() if name not in own}
    return {token for found in (top, *entries_with) for token in found.values()}


def _tokens_at(place: dict[str, Any]) -> dict[str, str]:
    """The tokens that stand at their places in one object."""
    found = {name: place.get(name) for name in ("accessToken", "refreshToken", "tokenId")}
    texts = {name: str(token) if type(token) is int else token for name, token in found.items()}
    return {name: token for name, token in texts.items() if isinstance(token, str) and is_seen(token)}


def _is_nameless(entry: dict[str, Any]) -> bool:
    account = entry.get("account")
    ids = (account.get(name) for name in ("accountId", "meshAccountId")) if isinstance(account, dict) else ()
    return not any(type(it) is int or (isinstance(it, str) and is_seen(it)) for it in ids)


def is_seen(text: str) -> bool:
    """Whether anybody can see something of `text`, and it is no word that programs write for nothing."""
    if text.lower() in ("null", "none", "undefined", "nan", "\\n"):
        return False
    white = ("Cc", "Cf", "Zs", "Zl", "Zp")
    return any(unicodedata.category(it) not in white and it not in "\u115f\u1160\u2800\u3164\uffa0" for it in text)


def is_whole(body: bytes) -> bool:
    """Whether every character in `body` is a whole one."""
    try:
        json.dumps(parsed(body), ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError):
        return False
    return True


def ids_in(reply: Reply) -> set[str | None]:
    """The ids of accounts in `reply`: these are shown as they are."""
    accounts = [] if reply.content is None else [entry.account for entry in reply.content.all_entries]
    return {name for it in accounts if it is not None for name in (it.account_id, it.mesh_account_id)}


def check(http: int, body: bytes, *, code: str | None = None) -> None:
    """Read `body` under `http`, and see that nothing breaks and nothing is dropped."""
    strategy = DefaultStrategy()
    request = strategy.build(OLD, RefreshOptions()) if code is None else strategy.build_mfa(pending(), code)
    sent = {*request.secrets, *OLD.secrets}
    reply = codec.decode_reply(HttpReply(http, {}, body), at=AT)
    assert isinstance(reply, Reply)
    secrets = sent - ids_in(reply)
    try:
        outcome = strategy.interpret(request, OLD, reply, AT)
    except MeshRefreshError as error:
        shown = repr((str(error), error.facts, reply.scrubbed(request.secrets)))
        assert not [secret for secret in secrets if secret in shown]
        if planted(body) - sent:
            failed = parsed(body)["content"].get("status") == "failed"
            assert failed or not 200 <= http < 300 or not is_whole(body)
            assert isinstance(error, UnreadableReply)  # noqa: PT017 - an outcome is right too
            assert error.may_hold_token  # noqa: PT017
            assert error.body == body  # noqa: PT017
        return
    assert isinstance(outcome, Refreshed | MfaRequired)
    assert not [secret for secret in secrets if secret in repr((outcome.reply, outcome.reply.facts))]
    kept = {token for tokens in outcome.all_tokens for token in tokens.secrets}
    assert planted(body) - sent <= kept
    assert all(map(is_seen, kept))
    said = parsed(body)
    if said and isinstance(outcome, Refreshed) and not planted(body) - sent:
        assert (said.get("status"), said["content"].get("status")) == ("ok", "succeeded")
        assert {"expiresInSeconds", "refreshTokenExpiresInSeconds"} & set(said["content"])
    if isinstance(outcome, MfaRequired):
        assert MfaRequired.from_json(outcome.to_json()) == outcome


def written(value: object, encoding: str = "utf-8", *, ascii_only: bool = False) -> bytes:
    return json.dumps(value, ensure_ascii=ascii_only).encode(encoding, "surrogatepass")


@bounded(150)
@given(
    HTTP, st.binary(max_size=200) | st.text(st.characters(), max_size=60).map(lambda s: s.encode("utf-8", "replace"))
)
@example(200, b"\x00{")
@example(200, b"\xff\xfe{\x00")
@example(200, b"1e999")
@example(400, b"9" * 5_000)
def test_any_bytes(http: int, body: bytes) -> None:
    """Any bytes under any HTTP code give an outcome or one of our errors."""
    check(http, body)


@bounded(200)
@given(HTTP, JSON, ENCODINGS, st.booleans(), st.sampled_from([None, CODE]))
def test_any_json(http: int, value: object, encoding: str, ascii_only: bool, code: str | None) -> None:
    """Any JSON, in any encoding, gives an outcome or one of our errors."""
    check(http, written(value, encoding, ascii_only=ascii_only), code=code)


@bounded(150)
@given(
    HTTP, st.dictionaries(st.sampled_from(NAMES), JSON, max_size=6), st.sampled_from(["content", "envelope", "entry"])
)
def test_any_json_in_its_place(http: int, fields: dict[str, Any], where: str) -> None:
    """Any JSON in the fields of an envelope, of its content or of an entry gives an outcome or one of our errors."""
    inner = {"content": fields, "entry": {"status": "succeeded", "brokerAccountTokens": [fields]}}.get(where)
    check(http, written(fields if inner is None else envelope(inner)))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place inside `value`."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [*([path] if path else []), *(found for step, item in steps for found in places(item, (*path, step)))]


def put(value: Any, path: tuple[Any, ...], new: object) -> Any:
    """`value` with `new` at `path`."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = put(value[path[0]], path[1:], new)
    return copy


@bounded(250)
@given(HTTP, st.lists(st.tuples(st.sampled_from(places(VALID)), JSON), min_size=1, max_size=3), ENCODINGS)
def test_a_valid_reply_with_wrong_parts(
    http: int, changes: list[tuple[tuple[Any, ...], object]], encoding: str
) -> None:
    """A reply with any of its parts exchanged for any JSON drops no token that is left in its place."""
    value = VALID
    for path, new in changes:
        try:
            value = put(value, path, new)
        except (LookupError, TypeError, ValueError):
            continue  # an earlier change has taken that place away
    check(http, written(value, encoding))


@bounded(200)
@given(
    HTTP,
    st.integers(0, len(written(VALID))),
    st.integers(0, 20),
    st.binary(max_size=4)
    | st.sampled_from([b'"refreshToken": "fake-refresh-new", ', b"NaN", b"\\ud800", b"[" * 3_000, b"null", b"{}"]),
)
def test_a_valid_reply_with_bytes_exchanged(http: int, start: int, length: int, new: bytes) -> None:
    """A reply with any bytes of it exchanged, its keys doubled too, drops no token that can still be read."""
    body = written(VALID)
    check(http, body[:start] + new + body[start + length :])


TOKEN = st.sampled_from(["fake-1", "fake-2", 2**70, 7, None, "", " ", "\x00", "\u200b", *OLD.secrets])
STATUS = st.sampled_from(["ok", "succeeded", "succeeded", None, "badRequest", f"unheard of: {OLD.refresh_token}"])
PLAUSIBLE_ENTRY = st.fixed_dictionaries(
    {}, optional={"accessToken": TOKEN, "refreshToken": TOKEN, "tokenId": TOKEN, "account": st.just({"accountId": "A"})}
)
PLAUSIBLE = st.builds(
    lambda said, entries, top, lifetime: content(*entries, status=said, **top, expiresInSeconds=lifetime),
    STATUS, st.lists(PLAUSIBLE_ENTRY, max_size=2), PLAUSIBLE_ENTRY, st.sampled_from([None, 60]),
)  # fmt: skip
ODD = st.sampled_from([b"null", b"NaN", b"-Infinity", b"1e999", b"%d" % 2**70, b'"\n"', b'"caf\xe9"'])
TWICE = st.sampled_from([b"", b'"refreshToken": null, ', b'"accessToken": " ", '])


@bounded(250)
@given(STATUS, PLAUSIBLE, ODD, TWICE)
def test_a_plausible_reply(status: str | None, inner: dict[str, Any], odd: bytes, twice: bytes) -> None:
    """Blank, repeated and new tokens under any statuses are what they are, beside whatever strict parsers refuse."""
    clean = written(envelope(inner, status))
    check(200, clean)
    spoilt = clean.replace(b'"errorType"', b'"errorData": ' + odd + b', "errorType"')
    doubled = spoilt.replace(b'"expiresInSeconds"', twice + b'"expiresInSeconds"')
    assert accounts(clean) == accounts(spoilt) == accounts(doubled)


def accounts(body: bytes) -> object:
    """What came of `body`: the tokens of each account, or the class of the error."""
    try:
        outcome = DefaultStrategy().interpret(REQUEST, OLD, codec.decode_reply(HttpReply(200, {}, body), at=AT), AT)
    except MeshRefreshError as error:
        return type(error)
    return type(outcome), outcome.all_tokens


REQUEST = DefaultStrategy().build(OLD, RefreshOptions())


@pytest.mark.parametrize("http", [200, 400])
@pytest.mark.parametrize("depth", [40, 60, 120, 260, 500, 990, 2_000, 100_000])
@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_deep_nesting(http: int, depth: int, opening: bytes) -> None:
    """However deep a reply is nested, and wherever, it is read or kept."""
    deep = opening * depth + b"1" + (b"]" if opening == b"[" else b"}") * depth
    check(http, deep)
    for name in (b"errorData", b"message", b"novelty"):
        check(http, written(VALID)[:-1] + b', "' + name + b'": ' + deep + b"}")
        check(http, b'{"status": "badRequest", "errorType": "badRequest", "' + name + b'": ' + deep + b"}")
    for name in (b"account", b"balances", b"accessToken"):
        check(http, b'{"content": {"refreshToken": "fake-refresh-new", "' + name + b'": ' + deep + b"}}")


@pytest.mark.parametrize(
    "body",
    [
        b'{"content": {"refreshToken": "fake-refresh-new", "cash": NaN, "fund": -Infinity}}',
        b'\xef\xbb\xbf{"content": {"refreshToken": "fake-refresh-new"}}',
        '{"content": {"refreshToken": "fake-refresh-new"}}'.encode("utf-16"),
        b'{"content": {"refreshToken": "fake-old", "refreshToken": "fake-refresh-new"}}',
        b'{"content": {"refreshToken": "fake-refresh-new", "expiresInSeconds": ' + b"9" * 300 + b"}}",
    ],
)
def test_what_strict_parsers_refuse(body: bytes) -> None:
    """NaN, a byte order mark, UTF-16, keys twice and endless numbers cost no token."""
    request = DefaultStrategy().build(OLD, RefreshOptions())
    reply = codec.decode_reply(HttpReply(200, {}, body), at=AT)
    outcome = DefaultStrategy().interpret(request, OLD, reply, AT)
    assert outcome.all_tokens[0].refresh_token == "fake-refresh-new"


HALVES = pytest.mark.parametrize("half", [rb"\ud83d", rb"\ude00x", b"\xed\xa0\xbd"])
"""A lone surrogate: escaped, as JSON writers in JavaScript and .NET do it, and as bytes."""


@HALVES
def test_half_a_character_in_a_text_costs_no_token(half: bytes) -> None:
    """Names and messages are cut by somebody's count of characters: all else is read, tokens to the byte."""
    pair = {"accessToken": "fake-access-\U0001f600", "refreshToken": "fake-refresh-new"}
    account = {"account": {"accountId": "A", "accountName": "Savings @", "balances": [{"symbol": "@"}]}, **pair}
    body = written(envelope(content(account, errorMessage="@"), message="@", more={"@": ["@"]}))
    outcome = refreshed(body.replace(b"@", half))
    [found] = outcome.all_tokens
    assert (found.access_token, found.refresh_token, found.account_id) == (*pair.values(), "A")
    assert found == Tokens.from_json(found.to_json())
    assert outcome.reply.content is not None
    named = outcome.reply.content.broker_account_tokens[0].account
    assert named is not None
    assert (named.account_name or "").startswith("Savings \ufffd")


@HALVES
@pytest.mark.parametrize("name", ["accessToken", "refreshToken", "tokenId", "accountId", "meshAccountId"])
def test_half_a_character_in_a_token_or_an_id(half: bytes, name: str) -> None:
    """Another one in its place would be no better: the bytes are kept as they came."""
    ids, tokens = {"accountId": "A", "meshAccountId": "M"}, {**PAIR, "tokenId": "fake-token-id"}
    (ids if name in ids else tokens)[name] = "fake-@-new"
    body = written(envelope(content({"account": ids, **tokens}))).replace(b"@", half)
    error = refusal(decoded(200, body))
    assert isinstance(error, UnreadableReply)
    assert error.may_hold_token
    assert error.body == body
