"""`Tokens` as a value: made, refused, written down, read back."""

import json
import pickle
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any

import pytest
from attrs import evolve, fields
from attrs.exceptions import FrozenInstanceError
from hypothesis import given
from hypothesis import strategies as st

from mesh_refresh import BrokerType, InvalidRequest, Tokens
from mesh_refresh.tokens import with_fields
from tests.examples import bounded
from tests.tokens_strategies import TOKENS

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
DOCUMENT = {"format": "mesh_refresh.tokens", "version": 1, "broker": "coinbase", "refresh_token": "fake-refresh"}


def made(**fields: Any) -> Tokens:
    return Tokens("coinbase", **fields)


def test_all_but_the_broker_is_optional() -> None:
    """A broker alone makes tokens, with nothing else known."""
    tokens = Tokens("coinbase")
    assert tokens.broker is BrokerType.COINBASE
    assert (tokens.refresh_token, tokens.auth_token, tokens.ref, tokens.metadata) == (None,) * 4


def test_a_broker_that_nobody_listed() -> None:
    """Any non-empty string is a broker."""
    assert Tokens("brokerOfTomorrow").broker == "brokerOfTomorrow"


@pytest.mark.parametrize("broker", ["", "  ", None, 7, b"coinbase", ["coinbase"]])
def test_no_broker(broker: Any) -> None:
    """Tokens without a broker are refused."""
    with pytest.raises(InvalidRequest, match="broker"):
        Tokens(broker)


@pytest.mark.parametrize(
    "name", ["refresh_token", "access_token", "trade_token", "token_id", "account_id", "mesh_account_id"]
)
def test_texts(name: str) -> None:
    """Empty text counts as None, and what is no text is refused by name, without being shown."""
    assert getattr(made(**{name: ""}), name) is None
    for wrong in (7, b"fake-secret", ["fake-secret"], {"a": "fake-secret"}, True):
        with pytest.raises(InvalidRequest, match=name) as caught:
            made(**{name: wrong})
        assert "fake-secret" not in str(caught.value)
        assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("name", ["obtained_at", "expires_at", "refresh_token_expires_at", "not_before"])
def test_moments(name: str) -> None:
    """Datetimes are aware and become UTC; naive ones and other types are refused by name."""
    given = datetime(2026, 1, 1, 14, tzinfo=timezone(timedelta(hours=2)))
    kept = getattr(made(**{name: given}), name)
    assert kept == NOW
    assert kept.tzinfo is UTC
    for wrong in (datetime(2026, 1, 1), 1_767_268_800, "2026-01-01T12:00:00Z", NOW.date()):  # noqa: DTZ001 - meant
        with pytest.raises(InvalidRequest, match=name):
            made(**{name: wrong})


@pytest.mark.parametrize(("year", "hours"), [(9999, -1), (1, 1)])
def test_a_moment_that_utc_does_not_have(year: int, hours: int) -> None:
    """A moment beyond the calendar in UTC is refused like any other wrong value."""
    month, day, hour = (12, 31, 23) if year == 9999 else (1, 1, 0)
    end = datetime(year, month, day, hour, 30, tzinfo=timezone(timedelta(hours=hours)))
    with pytest.raises(InvalidRequest, match="expires_at"):
        Tokens("coinbase", "fake-refresh", expires_at=end)


@pytest.mark.parametrize("metadata", ["text", 7, [("a", "b")], {"a": 1}, {1: "a"}, {"a": {}}, {None: None}])
def test_wrong_metadata(metadata: Any) -> None:
    """Metadata map strings to strings or None, as the contract has it."""
    with pytest.raises(InvalidRequest, match="metadata"):
        Tokens("coinbase", metadata=metadata)


def test_metadata_is_a_copy() -> None:
    """Metadata of any mapping are taken as they are at that moment."""
    given = {"region": "eu", "note": None}
    tokens = Tokens("coinbase", metadata=MappingProxyType(given))
    given["region"] = "us"
    assert tokens.metadata == {"region": "eu", "note": None}
    assert Tokens("coinbase", metadata={}).metadata == {}


@pytest.mark.parametrize("ref", [1.5, True, b"x", ("a",)])
def test_wrong_ref(ref: Any) -> None:
    """A ref is a string or an integer."""
    with pytest.raises(InvalidRequest, match="ref"):
        Tokens("coinbase", ref=ref)


def test_a_broker_is_text_that_can_be_stored() -> None:
    """Half a character can be neither stored nor sent."""
    with pytest.raises(InvalidRequest, match="broker is not Unicode"):
        Tokens("\ud800", "r")


@pytest.mark.parametrize(
    "fields", [{"refresh_token": "\ud800"}, {"ref": 2**70}, {"ref": "\ud800"}, {"metadata": {"a": "\udfff"}}]
)
def test_whatever_can_be_made_can_be_written_down(fields: dict[str, Any]) -> None:
    """What cannot be written as JSON is refused when the tokens are made, not when they are to be saved."""
    try:
        tokens = Tokens("coinbase", **fields)
    except InvalidRequest:
        return
    assert Tokens.from_json(tokens.to_json()) == tokens


def test_metadata_keys_that_are_enum_members() -> None:
    """Metadata with keys of a string subclass can be written down."""
    tokens = Tokens("coinbase", metadata={BrokerType.PAXOS: "eu"})
    assert Tokens.from_json(tokens.to_json()).metadata == {"paxos": "eu"}


def test_auth_token() -> None:
    """What the next call to Mesh needs is the access token, else the token id."""
    assert Tokens("coinbase", access_token="fake-a", token_id="fake-i").auth_token == "fake-a"
    assert Tokens("coinbase", token_id="fake-i").auth_token == "fake-i"


def test_repr() -> None:
    """A repr tells which secrets there are, and none of them."""
    secrets = {name: f"fake-{name}-secret" for name in ("refresh_token", "access_token", "trade_token", "token_id")}
    shown = repr(made(**secrets, metadata={"region": "fake-region-secret"}, ref="user-7"))
    assert "secret" not in shown
    for part in ("coinbase", "user-7", "refresh_token='***'", "'region': '***'"):
        assert part in shown
    assert "refresh_token=None" in repr(Tokens("coinbase"))


def test_frozen() -> None:
    """Tokens do not change."""
    with pytest.raises(FrozenInstanceError):
        Tokens("coinbase").refresh_token = "fake"  # type: ignore[misc]


@bounded(60)
@given(TOKENS)
def test_a_value(tokens: Tokens) -> None:
    """Equal tokens have equal hashes; pickles, copies by evolve and JSON documents are equal."""
    same = [pickle.loads(pickle.dumps(tokens)), evolve(tokens), Tokens.from_json(tokens.to_json())]  # noqa: S301 - own
    same.append(Tokens.from_json(tokens.to_json().encode()))
    for other in same:
        assert other == tokens
        assert hash(other) == hash(tokens)
    assert evolve(tokens, ref="other than before") != tokens


def test_evolve_checks() -> None:
    """evolve changes what it is told, and refuses what the class refuses."""
    tokens = Tokens("coinbase", "fake-1", ref=1)
    assert evolve(tokens, refresh_token="fake-2") == Tokens("coinbase", "fake-2", ref=1)
    with pytest.raises(InvalidRequest):
        evolve(tokens, refresh_token=2)  # type: ignore[arg-type]


def test_the_document() -> None:
    """The document is JSON that says what it is, and leaves out what is not known."""
    document = json.loads(Tokens("coinbase", "fake-refresh", expires_at=NOW).to_json())
    assert document == {**DOCUMENT, "expires_at": "2026-01-01T12:00:00+00:00"}


def test_unknown_fields_of_a_document() -> None:
    """A document with fields of a later version that says it can be read is read."""
    assert Tokens.from_json(json.dumps({**DOCUMENT, "novelty": 1})) == Tokens("coinbase", "fake-refresh")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format": "mesh_refresh.mfa_required"}, "format"),
        ({"format": None}, "format"),
        ({"version": 2}, "update"),
        ({"version": "1"}, "version"),
        ({"version": None}, "version"),
        ({"version": True}, "version"),
        ({"version": 0}, "version"),
        ({"broker": ""}, "broker"),
        ({"broker": None}, "broker"),
        ({"broker": 7}, "broker"),
        ({"refresh_token": 7}, "refresh_token"),
        ({"metadata": []}, "metadata"),
        ({"ref": {}}, "ref"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"expires_at": 7}, "expires_at"),
        ({"expires_at": "2026-01-01T12:00:00"}, "expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-01:00"}, "expires_at"),
    ],
)
def test_damaged_documents(changes: dict[str, Any], says: str) -> None:
    """A document that is damaged, of another kind or of a newer version is refused with the reason."""
    with pytest.raises(InvalidRequest, match=says):
        Tokens.from_json(json.dumps({**DOCUMENT, **changes}))


@pytest.mark.parametrize("text", ["", "{", "null", "[]", '"x"', b"\xff", "\ud800", None, 7, {}, DOCUMENT, "[" * 5000])
def test_not_a_document(text: Any) -> None:
    """What is not the text of a JSON object is refused."""
    with pytest.raises(InvalidRequest, match="not a"):
        Tokens.from_json(text)


_ANY = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner), max_leaves=5)  # fmt: skip # noqa: E501


@bounded(150)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys([*DOCUMENT, "ref", "metadata", "expires_at"], _ANY)))
def test_any_document(changes: dict[str, Any]) -> None:
    """Whatever stands in a document, it is tokens or `InvalidRequest`."""
    with suppress(InvalidRequest):
        assert isinstance(Tokens.from_json(json.dumps({**DOCUMENT, **changes})), Tokens)


@given(TOKENS, TOKENS, st.sets(st.sampled_from([it.name for it in fields(Tokens)])))
@bounded(50)
def test_fields_of_other_tokens_are_taken_as_they_are(tokens: Tokens, other: Tokens, names: set[str]) -> None:
    """Not checked again, they give what the way that checks everything gives."""
    taken = {name: getattr(other, name) for name in names}
    assert with_fields(tokens, **taken) == evolve(tokens, **taken)
