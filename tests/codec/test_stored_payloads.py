"""Payloads as programs store them and read them back: read, or refused in words that name what is wrong."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import time, timedelta
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict

from mesh_refresh import BrokerType, InvalidRequest, MfaRequired, Tokens
from tests.codec import stored_payloads as forms
from tests.codec.stored_payloads import AT
from tests.examples import bounded

SECRET = "fake-secret"
ENTRY = {
    "account": {"accountId": "A", "meshAccountId": "M"},
    "accessToken": f"{SECRET}-a",
    "refreshToken": f"{SECRET}-r",
}
OTHER_ENTRY = {"account": {"accountId": "B"}, "accessToken": f"{SECRET}-b"}
PAYLOAD = {
    "accountTokens": [ENTRY],
    "brokerType": "coinbase",
    "expiresInSeconds": 3600,
    "refreshTokenExpiresInSeconds": 86_400,
}
FLAT = {
    "brokerType": "coinbase",
    "accessToken": f"{SECRET}-a",
    "refreshToken": f"{SECRET}-r",
    "accountId": "A",
    "meshAccountId": "M",
    "expiresInSeconds": 3600,
    "refreshTokenExpiresInSeconds": 86_400,
}
ONE = Tokens(
    "coinbase", f"{SECRET}-r", access_token=f"{SECRET}-a", account_id="A", mesh_account_id="M", obtained_at=AT,
    expires_at=AT + timedelta(hours=1), refresh_token_expires_at=AT + timedelta(days=1),
)  # fmt: skip


def read(payload: Any) -> tuple[Tokens, ...]:
    return Tokens.from_link(payload, obtained_at=AT)


def refusal(payload: Any, read: Callable[[Any], object] = read) -> str:
    with pytest.raises(InvalidRequest) as caught:
        read(payload)
    said = str(caught.value)
    assert SECRET not in said
    assert caught.value.__cause__ is caught.value.__context__ is None
    return said


# What real programs hand over.


def test_lifetimes_of_dynamodb() -> None:
    """A lifetime that is a `Decimal` counts: an expired token would be handed out as good."""
    assert read({**PAYLOAD, "expiresInSeconds": Decimal(3600), "refreshTokenExpiresInSeconds": Decimal("86400.0")}) == (
        ONE,
    )


@pytest.mark.parametrize("mapping", forms.MAPPINGS)
def test_mappings_inside_a_payload(mapping: Callable[[dict[str, Any]], Any]) -> None:
    """An account, and its ``account``, may be a mapping of any type."""
    assert read(
        {
            **PAYLOAD,
            "accountTokens": (mapping({**ENTRY, "account": mapping({"accountId": "A", "meshAccountId": "M"})}),),
        }
    ) == (ONE,)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_encodings(encoding: str) -> None:
    """A byte order mark is read over, in text too, and so are the encodings of Unicode."""
    text = json.dumps(PAYLOAD)
    for stored in (
        text.encode(encoding),
        bytearray(text.encode(encoding)),
        memoryview(text.encode(encoding)),
        f"\ufeff{text}",
    ):
        assert read(stored) == (ONE,)


def test_a_flat_account() -> None:
    """One account with its tokens beside the broker is that account, and no delayed authentication."""
    assert read(FLAT) == read({**FLAT, "account": {"accountId": "A"}}) == (ONE,)


@pytest.mark.parametrize(
    "more",
    [
        {"accessToken": "fake-a"},
        {"tokenId": "fake-i"},
        {"accountId": "A"},
        {"account": {"meshAccountId": "M"}},
        {"tradeToken": "fake-t"},
    ],
)
def test_delayed_auth_is_a_refresh_token_alone(more: dict[str, Any]) -> None:
    """A refresh token beside anything else of an account can be exchanged at once."""
    alone = {"brokerType": "interactiveBrokers", "refreshToken": "fake-r"}
    assert [tokens.not_before for tokens in read(alone)] == [AT + timedelta(hours=24)]
    assert [tokens.not_before for tokens in read({**alone, "accessToken": None, "tokenId": ""})] == [
        AT + timedelta(hours=24)
    ]
    assert [tokens.not_before for tokens in read({**alone, **more})] == [None]


def test_what_stands_under_delayed_auth() -> None:
    """``delayedAuth`` with an account's id is delayed all the same; with an access token it is not."""
    alone = {"brokerType": "interactiveBrokers", "refreshToken": "fake-r", "accountId": "A"}
    assert read({"delayedAuth": alone})[0].not_before == AT + timedelta(hours=24)
    assert read({"delayedAuth": {**alone, "accessToken": "fake-a"}})[0].not_before is None


def test_a_trade_token_beside_the_others() -> None:
    """WeBull's trade token, which programs store beside the rest, is read at the payload and around it."""
    flat = {"brokerType": "weBull", "accessToken": "fake-a", "refreshToken": "fake-r"}
    for payload in ({**flat, "tradeToken": "fake-t"}, {"accessTokenPayload": flat, "trade_token": "fake-t"}):
        assert read(payload)[0].trade_token == "fake-t"


def test_a_row_with_the_payload_in_it() -> None:
    """A payload in a column of JSON, with the broker or a lifetime in columns of their own."""
    inner = {"accountTokens": [ENTRY], "refreshTokenExpiresInSeconds": 86_400}
    row = {"id": 7, "brokerType": "coinbase", "expiresInSeconds": Decimal(3600), "payload": json.dumps(inner)}
    assert read(row) == (ONE,)


def test_a_column_that_is_called_payload_by_chance() -> None:
    """What cannot be a payload, beside a whole one, is a column of the program's own."""
    assert read({**FLAT, "payload": "text of another kind"}) == (ONE,)


def test_an_access_token_that_is_json() -> None:
    """A broker's token may be JSON itself, and is kept to the byte."""
    assert read({**FLAT, "accessToken": '{"key": "fake"}'})[0].access_token == '{"key": "fake"}'


def test_numbers_for_ids() -> None:
    """An id that a database made a number is its digits."""
    ids = [read({**FLAT, "accountId": value})[0].account_id for value in (70, Decimal(70), forms.Whole(70), b"70")]
    assert ids == ["70"] * 4


def test_tokens_in_both_places() -> None:
    """What stands in the list and beside it is one account; what only stands beside a single account is its."""
    assert read({**PAYLOAD, "refreshToken": ENTRY["refreshToken"], "accessToken": ENTRY["accessToken"]}) == (ONE,)
    without = {key: value for key, value in ENTRY.items() if key != "refreshToken"}
    assert read({**PAYLOAD, "accountTokens": [without], "refreshToken": ENTRY["refreshToken"]}) == (ONE,)


SECONDS = [3600.0, "3600", " 3.6e3 ", b"3600", Fraction(3600), timedelta(hours=1), forms.Whole(3600), forms.Text(3600)]


@pytest.mark.parametrize("value", SECONDS, ids=lambda value: type(value).__name__)
def test_lifetimes_that_are_read(value: object) -> None:
    """A number of any type, text that is one, and a span."""
    assert read({**PAYLOAD, "expiresInSeconds": value}) == (ONE,)


@pytest.mark.parametrize(
    "value", [None, "", " ", b"", 0, -5, "0", "-5", Decimal("-0.5"), 0.0, timedelta(), timedelta(-1), 1e-9]
)
def test_lifetimes_that_are_unknown(value: object) -> None:
    """Nothing, zero and less."""
    tokens = read({**PAYLOAD, "expiresInSeconds": value, "refreshTokenExpiresInSeconds": value})[0]
    assert tokens.expires_at is tokens.refresh_token_expires_at is None


ODD_LIFETIMES = [
    "soon", "PT1H", "1_000", "null", "2026-01-01T12:00:00Z", True, False, AT, AT.date(), time(1), float("nan"),
    float("inf"), Decimal("sNaN"), 10**400, 1e300, 1_767_268_800_000, [3600], {}, {"seconds": 3600}, {"N": "3600"},
    object(), b"\xff",
]  # fmt: skip


@pytest.mark.parametrize("name", ["expiresInSeconds", "refreshTokenExpiresInSeconds"])
@pytest.mark.parametrize("value", ODD_LIFETIMES, ids=lambda value: type(value).__name__)
def test_lifetimes_that_cannot_be_read(name: str, value: object) -> None:
    """A lifetime that is there and is none is refused by its name, and never taken for an unknown one."""
    assert f"{name} is " in refusal({**PAYLOAD, name: value})


# What cannot be read, and what is said of it.

OFTEN = json.dumps(json.dumps(json.dumps(json.dumps(json.dumps(PAYLOAD)))))


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ([PAYLOAD], "a list, not a JSON object. Hand over the payloads in it one at a time."),
        (json.dumps([PAYLOAD]), "one at a time"),
        ({"payload": [PAYLOAD]}, "payload is a list, not a JSON object. Hand over"),
        ({"accessToken": [PAYLOAD]}, "accessToken is a list, not a JSON object. Hand over"),
        ({"accessToken": PAYLOAD, "delayedAuth": PAYLOAD}, "more than one: accessToken, delayedAuth"),
        ({"payload": PAYLOAD, "refreshToken": SECRET}, "tokens stand in payload and beside it, as refreshToken"),
        ({**PAYLOAD, "refreshToken": SECRET}, "refreshToken beside accountTokens"),
        ({**PAYLOAD, "accountTokens": [ENTRY, ENTRY], "tokenId": SECRET}, "tokenId beside accountTokens"),
        ({**PAYLOAD, "accountTokens": [ENTRY, SECRET]}, "accountTokens[1] is not a JSON object: it is text"),
        ({**PAYLOAD, "accountTokens": [ENTRY, object()]}, "accountTokens[1] is of type object, not a JSON object"),
        ({**PAYLOAD, "accountTokens": SECRET}, "no token that can be read: accountTokens is text that is not JSON"),
        ({**PAYLOAD, "accountTokens": repr([ENTRY])}, "accountTokens is text that is not JSON"),
        ({**PAYLOAD, "accountTokens": AT}, "accountTokens is of type datetime, not a list"),
        ({**PAYLOAD, "accountTokens": [{**ENTRY, "account": SECRET}]}, "accountTokens[0].account is not a JSON object"),
        ({**PAYLOAD, "accountTokens": [{**ENTRY, "tokenId": 1.5}]}, "[0].tokenId is of type float, not text"),
        ({**FLAT, "accountId": float("nan")}, "accountId is of type float, not text"),
        ({**FLAT, "refreshToken": {"a": SECRET}}, "refreshToken is an object, not text"),
        ({**FLAT, "refreshToken": b"\xff" + SECRET.encode()}, "refreshToken is bytes that are not text"),
        ({**FLAT, "brokerType": True}, "brokerType is of type bool, not text"),
        ({**FLAT, "brokerType": {"S": "coinbase"}}, "brokerType is in the wire form of DynamoDB"),
        ({"M": {"brokerType": {"S": "coinbase"}}}, "TypeDeserializer"),
        ({**PAYLOAD, "accountTokens": {"L": [{"M": {"accessToken": {"S": SECRET}}}]}}, "is in the wire form"),
        ({**PAYLOAD, "expiresInSeconds": {"$numberLong": "3600"}}, "is in the extended JSON of MongoDB"),
        ({**PAYLOAD, "expires_in_seconds": 7200}, "expiresInSeconds stands there twice"),
        (MultiDict([*FLAT.items(), ("accessToken", SECRET)]), "accessToken stands there twice"),
        ('{"brokerType": "x", "refreshToken": "fake-secret-1", "refreshToken": "fake-secret-2"}', "stands there twice"),
        ({**FLAT, "expiresInSeconds": None, "expiresAt": AT}, "has expiresAt, and no expiresInSeconds"),
        ({**FLAT, "refreshTokenExpiresInSeconds": None, "refresh_token_expires_at": AT}, "no refreshTokenExp"),
        ({"brokerType": "x", "accountTokens": [{**ENTRY, "expiresInSeconds": 5}]}, "accountTokens[0].expiresInSeconds"),
        (ONE.to_document(), "it is a tokens document: Tokens.from_json reads it"),
        (ONE.to_json(), "it is a tokens document: Tokens.from_json reads it"),
        ({"payload": ONE.to_document()}, "it is a tokens document: Tokens.from_json reads it"),
        ({"format": "mesh_refresh.mfa_required", "version": 1}, "it is a continuation: MfaRequired.from_json reads it"),
        ({"content": {"brokerAccountTokens": [ENTRY]}, "status": "ok"}, "a reply of Mesh's refresh endpoint"),
        ({"type": "close", "payload": {"errorMessage": SECRET}}, "only integrationConnected has tokens"),
        ({"broker": "coinbase", "refresh_token": SECRET}, "Make Tokens(broker, refresh_token, ...) of columns"),
        ("", "empty"), (None, "empty"), (b"\xff\xfe", "empty"),
        (SECRET, "text that is not JSON"), (b"\x1f\x8b\x08", "bytes that are not text"), (object(), "of type object"),
        (bytearray(b"[" * 100_000), "text that is not JSON"), (bytearray(OFTEN.encode()), "too often"),
    ],
)  # fmt: skip
def test_refusals(payload: Any, says: str) -> None:
    """What is wrong is named, with what to do about it, and nothing of its content."""
    assert says in refusal(payload)


def test_a_payload_around_itself() -> None:
    """A wrapper in a circle ends."""
    circle: dict[str, Any] = {}
    circle["payload"] = circle
    assert "too deep" in refusal(circle)


@pytest.mark.parametrize("method", ["keys", "__getitem__"])
def test_a_mapping_that_fails(method: str) -> None:
    """What a type of the caller's raises is told by its name: a row whose session is closed, say."""

    class DetachedError(Exception):
        pass

    class Row(dict[str, Any]):
        pass

    def fail(*_: object) -> Any:
        raise DetachedError(SECRET)

    setattr(Row, method, fail)
    assert "its type raised DetachedError" in refusal(Row(PAYLOAD))
    assert "its type raised DetachedError" in refusal({**PAYLOAD, "accountTokens": [Row(ENTRY)]})


# Tokens documents.


@pytest.mark.parametrize("mapping", [*forms.MAPPINGS[:5], forms.redis_hash])
def test_documents_that_a_database_gives_back(mapping: Callable[[dict[str, Any]], Any]) -> None:
    """A tokens document in a mapping of any type, with numbers and times in types of the database's."""
    tokens = Tokens("coinbase", "fake-r", ref=7, expires_at=AT, metadata={"region": "eu"})
    document = tokens.to_document()
    for changes in ({}, {"version": Decimal(1), "ref": Decimal(7)}, {"version": 1.0, "ref": 7.0, "expires_at": AT}):
        assert Tokens.from_document(mapping({**document, **changes})) == tokens


@pytest.mark.parametrize("encode", forms.TEXT_FORMS[:6] + forms.TEXT_FORMS[10:])
def test_documents_as_text(encode: Callable[[Any], Any]) -> None:
    """A tokens document, and a continuation, as text of any kind."""
    assert Tokens.from_json(encode(ONE.to_document())) == ONE
    assert "continuation is damaged" in refusal(
        encode({"format": "mesh_refresh.mfa_required", "version": 1}), MfaRequired.from_json
    )


@pytest.mark.parametrize(
    ("read", "given", "says"),
    [
        (Tokens.from_document, PAYLOAD, "but a Link payload: Tokens.from_link reads it"),
        (Tokens.from_json, json.dumps(FLAT), "but a Link payload: Tokens.from_link reads it"),
        (Tokens.from_json, json.dumps({"payload": PAYLOAD}), "but a Link payload: Tokens.from_link reads it"),
        (Tokens.from_json, "{}", 'it has no "format"'),
        (Tokens.from_json, ONE.to_document(), "an object, not JSON text"),
        (Tokens.from_json, "[]", "is a list, not a JSON object"),
        (Tokens.from_json, "", "is empty"),
        (Tokens.from_document, ONE.to_json(), "is text, and not a mapping"),
        (Tokens.from_document, [ONE.to_document()], "is a list, not a JSON object"),
        (Tokens.from_document, None, "is empty"),
        (Tokens.from_document, {**ONE.to_document(), "format": {"S": "x"}}, '"format" is in the wire form'),
        (Tokens.from_document, {**ONE.to_document(), "version": "1"}, '"version" has become text'),
        (Tokens.from_document, {**ONE.to_document(), "version": b"1"}, '"version" has become text'),
        (Tokens.from_document, {**ONE.to_document(), "version": Decimal(2)}, "update it"),
        (Tokens.from_document, {**ONE.to_document(), "version": Decimal("NaN")}, "version"),
        (Tokens.from_document, {**ONE.to_document(), "ref": Decimal("7.5")}, "ref must be"),
        (Tokens.from_document, {**ONE.to_document(), "expires_at": AT.replace(tzinfo=None)}, "must be an aware"),
        (Tokens.from_document, {**ONE.to_document(), "expires_at": AT.date()}, "expires_at in the tokens"),
        (Tokens.from_document, MultiDict([*ONE.to_document().items(), ("ref", 1), ("ref", 2)]), "twice"),
        (MfaRequired.from_json, {"format": "mesh_refresh.mfa_required"}, "an object, not JSON text"),
        (MfaRequired.from_json, ONE.to_json(), '"format" says otherwise'),
        (MfaRequired.from_json, json.dumps(PAYLOAD), "but a Link payload"),
    ],
)  # fmt: skip
def test_documents_that_are_none(read: Callable[[Any], object], given: Any, says: str) -> None:
    """What is no document of that kind is refused in words that say what it is."""
    assert says in refusal(given, read)


# Any payload, in any form.


@bounded(500)
@given(forms.stored())
def test_any_stored_payload(given: tuple[Any, tuple[Tokens, ...]]) -> None:
    """Whatever a program has made of a payload, its tokens are what was in it."""
    payload, tokens = given
    assert read(payload) == tokens


PLACES = [
    *((name,) for name in ("brokerType", "expiresInSeconds", "refreshTokenExpiresInSeconds", "accountTokens")),
    *(("accountTokens", 0, name) for name in ("accessToken", "refreshToken", "tokenId", "account")),
    *(("accountTokens", 0, "account", name) for name in ("accountId", "meshAccountId")),
]
NO_TEXT = b"\xff" + SECRET.encode()
ODD = [
    AT,
    AT.date(),
    object(),
    {SECRET},
    True,
    float("nan"),
    1.5j,
    [SECRET],
    {"S": SECRET},
    {"$binary": SECRET},
    NO_TEXT,
]


@bounded(300)
@given(forms.LISTED, st.sampled_from(PLACES), st.sampled_from(ODD), st.sampled_from(forms.MAPPINGS), st.booleans())
def test_any_damaged_payload(
    payload: dict[str, Any], place: tuple[Any, ...], odd: Any, mapping: Callable[[Any], Any], flat: bool
) -> None:
    """A part that is there and cannot be read is named in the refusal: it is never passed over."""
    inner: Any = payload
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = odd
    if flat and place[0] != "accountTokens":
        payload = forms.flat(payload)
    as_given = forms.changed(payload, number=int, text=str, array=_kept(odd), mapping=mapping)
    assert place[-1] in refusal(as_given)


def _kept(odd: Any) -> Callable[[list[Any]], Any]:
    """Lists as tuples, but for what was put in."""
    return lambda items: odd if items == odd else tuple(items)


def test_brokers_that_are_members() -> None:
    """A `BrokerType` in a mapping is the broker that it names."""
    assert read(MappingProxyType({**PAYLOAD, "brokerType": BrokerType.COINBASE})) == (ONE,)


def test_an_account_of_nothing_is_left_out() -> None:
    """Nothing, a number and an object without a token hold no account; all others are read or refused."""
    nothing: list[Mapping[str, Any] | int | float | str | None] = [
        None,
        "",
        7,
        1.5,
        {},
        {"account": {"accountId": "B"}},
    ]
    assert read({**PAYLOAD, "accountTokens": [*nothing, ENTRY]}) == (ONE,)


NUMBERED = [{"0": ENTRY, "1": OTHER_ENTRY}, {"1": OTHER_ENTRY, "0": ENTRY}, {"10": OTHER_ENTRY, "9": ENTRY}]


@pytest.mark.parametrize("wrap", [dict, MappingProxyType, json.dumps])
@pytest.mark.parametrize("entries", NUMBERED)
def test_lists_that_have_become_objects(entries: dict[str, Any], wrap: Callable[[Any], Any]) -> None:
    """Firebase and PHP give back a list as an object with numbers for names, in any order."""
    found = read({**PAYLOAD, "accountTokens": wrap(entries)})
    assert [tokens.account_id for tokens in found] == ["A", "B"]


def test_an_object_with_names_of_the_programs_own() -> None:
    """Accounts under their ids are refused in words that are true."""
    said = refusal({**PAYLOAD, "accountTokens": {"A": ENTRY, "B": OTHER_ENTRY}})
    assert "missing or empty" not in said
    assert "accountTokens[0] has no name of Link's" in said


@pytest.mark.parametrize("mark", ["-", "_", " ", "_-"])
def test_words_with_anything_between(mark: str) -> None:
    """Names in kebab case, in snake case and as the titles of columns are read, also beside Link's own."""
    marked = {re.sub("(?=[A-Z])", mark, name): value for name, value in FLAT.items()}
    assert read(marked) == (ONE,)
    assert read({**FLAT, "refreshToken": None, f"refresh{mark}token": f"{SECRET}-r"}) == (ONE,)


@pytest.mark.parametrize(
    "name", ["accountTokens.0.refreshToken", "accountTokens[0][refreshToken]", "tokens.refresh_token", "a/b/tokenId",
             "account.accountId", "account:mesh_account_id"]
)  # fmt: skip
def test_names_that_were_flattened(name: str) -> None:
    """A token or an id under the name of where it stood is not dropped beside others."""
    assert "flattened" in refusal({"brokerType": "coinbase", "accessToken": f"{SECRET}-a", name: SECRET})
    assert read({**FLAT, name: ""}) == (ONE,)


@pytest.mark.parametrize("name", ["", ".", "[]"])
def test_names_of_no_part(name: str) -> None:
    """As a table has them that was written with the number of each row."""
    assert read({**FLAT, name: SECRET}) == (ONE,)


@pytest.mark.parametrize(
    "name", ["expiresOn", "expiry", "expiration_date", "expiresInMs", "expiresInMilliseconds", "accessTokenExpiresAt",
             "token_expiry", "Expires-At", "refreshTokenExpiry", "refresh_expires_in", "refreshTokenExpirationDate"]
)  # fmt: skip
def test_other_names_for_an_end(name: str) -> None:
    """An end that nobody reads is refused by its name, where Link's own name is missing: the tokens would have none."""
    own = "refreshTokenExpiresInSeconds" if name.startswith("refresh") else "expiresInSeconds"
    assert name in refusal({**FLAT, own: None, name: "2026-01-01"})
    assert read({**FLAT, name: "2026-01-01"}) == (ONE,)
    for harmless in ("isExpired", "expired", "expiredAt", "expiresSoon"):
        assert read({**FLAT, own: None, harmless: True})


def test_words_for_nothing() -> None:
    """What a program wrote for a token that it had not is none: "None" would be stored, and sent."""
    for word in ("None", "null", "NULL", "undefined", "nan", r"\N"):
        (tokens,) = read({**FLAT, "refreshToken": word, "meshAccountId": word})
        assert (tokens.refresh_token, tokens.mesh_account_id) == (None, None)
        assert Tokens("coinbase", word).refresh_token is None
