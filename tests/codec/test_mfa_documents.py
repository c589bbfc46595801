"""A continuation written in one process and read in another."""

import json
from contextlib import suppress
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from mesh_refresh import BrokerAccount, InvalidRequest, MfaPending, MfaRequired, Refreshed, Tokens
from tests.examples import bounded
from tests.replies.wire_replies import OLD, content, decoded, entry, envelope, pending, read, without_body
from tests.tokens_strategies import TOKENS, UNICODE

pytestmark = pytest.mark.once

TOKEN = st.none() | UNICODE.filter(str.strip)
"""What is blank is no token."""
ENTRIES = st.lists(
    st.builds(
        entry,
        st.none() | st.sampled_from(["A", "B"]),
        st.none() | st.sampled_from(["MA", "MB"]),
        accessToken=TOKEN,
        refreshToken=TOKEN,
        tokenId=TOKEN,
    ),
    max_size=3,
)


@bounded(150)
@given(TOKENS.filter(lambda tokens: tokens.refresh_token is not None), ENTRIES, TOKEN, UNICODE)
def test_round_trip(tokens: Tokens, entries: list[dict[str, Any]], top: str | None, said: str) -> None:
    """A continuation read back equals the one that was written, but for the body: tokens, reply and access token."""
    inner = content(*entries, status="mfaRequired", accessToken=top, expiresInSeconds=60)
    asked = read(decoded(200, envelope(inner, displayMessage=said, errorData={"said": said})), tokens)
    assert isinstance(asked, MfaRequired)
    again = MfaRequired.from_json(asked.to_json())
    assert again == without_body(asked)
    assert again.access_token == asked.access_token
    assert again.display_message == asked.display_message
    assert again.reply.content == asked.reply.content
    assert MfaRequired.from_json(asked.to_json().encode()) == again
    assert again.to_json() == asked.to_json()


def test_a_reply_with_headers() -> None:
    """A continuation whose reply had headers to heed reads back equal too."""
    asked = read(decoded(200, envelope(content(status="mfaRequired")), {"Retry-After": "5"}))
    assert isinstance(asked, MfaRequired)
    assert MfaRequired.from_json(asked.to_json()) == without_body(asked)


DOCUMENT = json.loads(pending(brokerAccountTokens=[{"accessToken": "fake-access-new"}]).to_json())


@pytest.mark.parametrize("name", sorted(DOCUMENT))
def test_missing_parts(name: str) -> None:
    """A continuation with a part missing is refused."""
    with pytest.raises(InvalidRequest):
        MfaRequired.from_json(json.dumps({key: value for key, value in DOCUMENT.items() if key != name}))


WRONG: list[object] = [None, 7, -1.5, "text", "ü", True, [], [[]], {}, {"format": "mesh_refresh.tokens"}, [None], [7]]


@pytest.mark.parametrize("name", ["before", "tokens", "all_tokens", "brought", "reply"])
def test_damaged_parts(name: str) -> None:
    """A continuation with a part of another type is refused, or is one all the same, and never breaks."""
    for wrong in WRONG:
        try:
            assert isinstance(MfaRequired.from_json(json.dumps({**DOCUMENT, name: wrong})), MfaRequired)
        except InvalidRequest as error:
            assert "continuation" in str(error)  # noqa: PT017 - either is right


@pytest.mark.parametrize("name", DOCUMENT["reply"])
def test_damaged_replies(name: str) -> None:
    """The same of each part of its reply."""
    for wrong in WRONG:
        try:
            text = json.dumps({**DOCUMENT, "reply": {**DOCUMENT["reply"], name: wrong}})
            assert isinstance(MfaRequired.from_json(text), MfaRequired)
        except InvalidRequest as error:
            assert "continuation" in str(error)  # noqa: PT017 - either is right


def test_what_is_kept_of_a_large_reply() -> None:
    """The envelope with accounts and lifetimes, and nothing of the megabytes that stand beside it."""
    account = {"accountId": "A", "accountName": "Depot", "cash": 1.5, "balances": [{"symbol": "EUR", "cash": 2}]}
    inner = content({"account": account, "accessToken": "fake-a", "unknown": "x" * 3_000_000}, expiresInSeconds=60)
    asked = read(decoded(200, envelope({**inner, "status": "mfaRequired"}, errorHash="h", padding="y" * 3_000_000)))
    assert isinstance(asked, MfaRequired)
    assert len(asked.reply.body) > 6_000_000
    assert len(asked.to_json()) < 5_000
    again = MfaRequired.from_json(asked.to_json())
    assert again == without_body(asked)
    assert again.reply.content is not None
    assert again.reply.content.broker_account_tokens[0].account is not None


@pytest.mark.parametrize("odd", [2**70, -(2**70)])
def test_what_no_json_can_hold(odd: int) -> None:
    """A number that is too large, as an amount and in what is of any shape, never costs the continuation."""
    asked = pending(brokerAccountTokens=[{"accessToken": "fake-access-new", "account": {"accountId": "A"}}])
    assert asked.reply.content is not None
    entries = asked.reply.content.broker_account_tokens
    account = BrokerAccount(account_id="A", cash=odd)
    inner = evolve(asked.reply.content, broker_account_tokens=(evolve(entries[0], account=account),))
    strange = evolve(asked, reply=evolve(asked.reply, content=inner, error_data={"odd": [odd]}))
    again = MfaRequired.from_json(strange.to_json())
    assert again.all_tokens == asked.all_tokens
    assert again.reply.content is not None
    assert again.reply.content.broker_account_tokens[0].account == BrokerAccount(account_id="A", cash=float(odd))
    assert again.reply.error_data is None


def test_a_continuation_without_a_reply() -> None:
    """A strategy of the user's may have made it."""
    asked = evolve(pending(), reply=None)  # type: ignore[arg-type]
    assert MfaRequired.from_json(asked.to_json()).tokens == asked.tokens


@pytest.mark.parametrize("wrong", [7, True, [], {}])
def test_damaged_access_token(wrong: object) -> None:
    """An access token that is no text is refused."""
    with pytest.raises(InvalidRequest, match="damaged"):
        MfaRequired.from_json(json.dumps({**DOCUMENT, "access_token": wrong}))


def test_newer_versions() -> None:
    """A continuation of a newer version asks to update."""
    with pytest.raises(InvalidRequest, match="update"):
        MfaRequired.from_json(json.dumps({**DOCUMENT, "version": 2}))
    newer = {**DOCUMENT["tokens"], "version": 2}
    with pytest.raises(InvalidRequest, match=r"damaged|update"):
        MfaRequired.from_json(json.dumps({**DOCUMENT, "tokens": newer}))


@pytest.mark.parametrize("text", ["", "{", "null", "[]", b"\xff", None, 7, DOCUMENT, OLD.to_json()])
def test_not_a_continuation(text: Any) -> None:
    """What is no continuation, tokens too, is refused."""
    with pytest.raises(InvalidRequest, match="not a"):
        MfaRequired.from_json(text)


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from([*DOCUMENT["tokens"], "x"]), inner),
    max_leaves=5,
)


@bounded(200)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(DOCUMENT, _ANY)))
def test_any_document(changes: dict[str, Any]) -> None:
    """Whatever stands in a document, it is a continuation or `InvalidRequest`."""
    with suppress(InvalidRequest):
        assert isinstance(MfaRequired.from_json(json.dumps({**DOCUMENT, **changes})), MfaRequired)


def test_unwrap() -> None:
    """There is nothing to unwrap before the code was given: MfaPending carries the continuation."""
    asked = pending(brokerAccountTokens=[{"accessToken": "fake-access-new"}])
    with pytest.raises(MfaPending) as caught:
        asked.unwrap()
    assert caught.value.pending is asked
    assert "code" in str(caught.value)


def test_mfa_pending_says_what_may_be_spent() -> None:
    """Where the first reply already brought a new refresh token, the error does not say that none is spent."""
    asked = pending(brokerAccountTokens=[{"refreshToken": "fake-refresh-new"}])
    with pytest.raises(MfaPending) as caught:
        asked.unwrap()
    assert "No token is spent" not in str(caught.value)


def test_match_statement() -> None:
    """Outcomes are told apart by match, as the design writes it."""
    match pending():
        case Refreshed():
            pytest.fail("no success")
        case MfaRequired() as asked:
            assert asked.tokens == OLD
