"""What errors tell of the reply: facts, waiting times, and a text that a person can act on."""

from datetime import timedelta

import pytest

from mesh_refresh import (
    ApiStatus,
    MeshRefreshError,
    MfaRequired,
    RequestRejected,
    Throttled,
    Tokens,
    TokensRefused,
    UnreadableReply,
)
from tests.replies.wire_replies import CODE, OLD, PAIR, content, decoded, envelope, read, refusal, without_body

FACTS = {
    "message": "Unauthorized token",
    "displayMessage": "Could not refresh",
    "errorHash": "1bc4f94f",
    "errorType": "badRequest",
    "errorData": {"why": ["because", None]},
    "teamCode": "A7",
}


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 409, 418, 423, 429, 451, 500, 503])
def test_the_envelopes_facts(status: int) -> None:
    """Every error has the envelope's facts, as Mesh wrote them."""
    error = refusal(decoded(status, envelope(None, "badRequest", **FACTS)))
    assert error.http_status == status
    assert error.status is ApiStatus.BAD_REQUEST
    assert error.error_type == "badRequest"
    assert error.error_hash == "1bc4f94f"
    assert error.team_code == "A7"
    assert error.message == "Unauthorized token"
    assert error.display_message == "Could not refresh"
    assert error.error_data == {"why": ["because", None]}


@pytest.mark.parametrize("data", [None, "text", 7, 1.5, [], [1, {"a": []}], {}, {"a": {"b": None}}, False])
def test_error_data_of_any_shape(data: object) -> None:
    """errorData is kept in whatever shape it came."""
    assert refusal(decoded(400, envelope(None, "badRequest", errorData=data))).error_data == data


def test_facts_of_wrong_types_are_absent() -> None:
    """A fact of a wrong type reads as absent, and costs nothing."""
    wrong = {"message": [], "displayMessage": {}, "errorHash": 9, "errorType": 7, "teamCode": False}
    error = refusal(decoded(400, envelope(None, "badRequest", **wrong)))
    assert isinstance(error, TokensRefused)
    facts = (error.message, error.display_message, error.error_hash, error.error_type, error.team_code)
    assert facts == (None,) * 5


def test_no_envelope_no_facts() -> None:
    """Without an envelope there is the HTTP code and nothing else."""
    error = refusal(decoded(400, b"<html>"))
    assert error.facts == type(error.facts)(400)


def test_problem_details_tell_their_title() -> None:
    """ProblemDetails give their detail, else their title, as the message."""
    assert refusal(decoded(400, {"title": "Invalid", "status": 400})).message == "Invalid"
    assert refusal(decoded(400, {"title": "Invalid", "detail": "No type", "status": 400})).message == "No type"


def test_the_brokers_word_is_the_message_where_the_envelope_has_none() -> None:
    """content.errorMessage tells what the broker said, where the envelope says nothing."""
    inner = content(status="failed", errorMessage="Session ended")
    assert refusal(decoded(200, envelope(inner))).message == "Session ended"
    assert refusal(decoded(200, envelope(inner, message="Nope"))).message == "Nope"


def test_unknown_status_stays_a_string() -> None:
    """An envelope status that nobody has published is kept as it is."""
    assert refusal(decoded(400, envelope(None, "splendid"))).status == "splendid"


def test_facts_stand_in_the_text() -> None:
    """HTTP code, status, errorType, errorHash and message are quoted in the error's text."""
    text = str(refusal(decoded(400, envelope(None, "badRequest", **FACTS))))
    for part in ("HTTP 400", "badRequest", "1bc4f94f", "Unauthorized token"):
        assert part in text


def test_a_long_message_is_cut_in_the_text_only() -> None:
    """A page of text as a message does not flood a log line, and is whole on the error."""
    page = "x" * 10_000
    for fields in ({"message": page}, {"errorType": page, "errorHash": page}, {"status": page}):
        error = refusal(decoded(400, {**envelope(None, "badRequest"), **fields}))
        assert len(str(error)) < 1_500
        assert page in (error.message, error.error_type, error.status)


@pytest.mark.parametrize("status", [200, 400, 401, 429, 500])
def test_echoed_secrets_are_blotted_out(status: int) -> None:
    """A server that repeats what it was sent does not get it into an error."""
    said = f"You sent {OLD.refresh_token}, {OLD.access_token} and {CODE}."
    fields = {"message": said, "displayMessage": said, "errorType": said, "teamCode": said, "errorHash": said}
    body = envelope(
        content(status="failed", errorMessage=said), "badRequest", **fields, errorData={said: [{"x": said}]}
    )
    error = refusal(decoded(status, body), code=CODE)
    shown = repr((str(error), repr(error), error.args, error.facts, error.error_data))
    for secret in (OLD.refresh_token, OLD.access_token, CODE):
        assert secret is not None
        assert secret not in shown
    assert "You sent ***" in shown


WHOLE = {"accessToken": "fake-access-new", "refreshToken": "fake-refresh-new", "tokenId": "fake-id-new"}
SENT = ("fake-refresh-old", "fake-access-old", CODE)


@pytest.mark.parametrize("secret", [*SENT, *WHOLE.values()])
@pytest.mark.parametrize("http", [200, 400, 401, 429, 500, 503])
def test_an_open_status_is_scrubbed_of_what_it_quotes(http: int, secret: str) -> None:
    """A status that is none of the published ones may quote a token that was sent, or one that came."""
    error = refusal(decoded(http, envelope(content(WHOLE, status="failed"), f"unheard of: {secret}!")), code=CODE)
    assert secret not in repr((str(error), error.args, error.facts))
    assert error.status == "unheard of: ***!"


@pytest.mark.parametrize("secret", [*SENT, *WHOLE.values()])
def test_a_success_shows_no_token_that_its_texts_quote(secret: str) -> None:
    """Statuses, names, symbols and hashes of a success are shown without the tokens that they quote."""
    said = f"x {secret} x"
    account = {"accountId": "A", "accountName": said, "frontAccountId": said, "balances": [{"symbol": said, "cash": 1}]}
    named = content({"account": account, **WHOLE}, account=account)
    for body in (
        envelope(named, said), envelope(content(WHOLE, status=said)), envelope(content(WHOLE, status=said), said),
        envelope(named), envelope(content(WHOLE), errorHash=secret), envelope(content(WHOLE), errorHash=said),
    ):  # fmt: skip
        reply = read(decoded(200, body), code=CODE).reply
        assert reply.content is not None
        assert secret not in repr((reply, reply.facts, str(reply.status), str(reply.content.status)))


def test_a_continuation_keeps_no_token_that_a_status_quotes() -> None:
    """What a status quoted does not come back from the document of a continuation."""
    asked = read(decoded(200, envelope(content(status="mfaRequired"), f"wait, {OLD.refresh_token}")))
    assert isinstance(asked, MfaRequired)
    assert asked.reply.status == "wait, ***"
    again = MfaRequired.from_json(asked.to_json())
    assert (again, again.reply.status) == (without_body(asked), "wait, ***")


def test_a_secret_that_begins_with_another() -> None:
    """The longer of two secrets is blotted out whole."""
    tokens = Tokens("coinbase", "fake-token", access_token="fake-token-and-more")
    error = refusal(decoded(400, envelope(None, "badRequest", message="got fake-token-and-more")), tokens)
    assert error.message == "got ***"


def test_an_ordinary_success_is_not_scrubbed() -> None:
    """Members of the enumerations and a short hash are no text of the server's own: a success costs no scrubbing."""
    assert not decoded(200, envelope(content({"account": {"accountName": "Main"}, **PAIR}))).says_something


def test_a_secret_like_a_status_changes_no_meaning() -> None:
    """A member of an enumeration is no quotation, even where a token is spelled the same."""
    tokens = Tokens("coinbase", "mfaRequired", access_token="badRequest")
    asked = read(decoded(200, envelope(content(status="mfaRequired"), "badRequest", message="hm")), tokens)
    assert isinstance(asked, MfaRequired)
    assert asked.reply.status is ApiStatus.BAD_REQUEST


def test_new_tokens_quoted_in_a_message_are_blotted_out() -> None:
    """A message that quotes the new token does not get it into the error."""
    said = f"Rotated to {PAIR['refreshToken']}"
    error = refusal(decoded(500, envelope(content(PAIR), "serverFailure", message=said, errorData={"said": said})))
    assert isinstance(error, UnreadableReply)
    assert PAIR["refreshToken"] not in repr((str(error), error.facts, error.error_data))


def test_no_retry_after() -> None:
    """Where Mesh did not say how long to wait, neither does the error."""
    assert isinstance(error := refusal(decoded(429, b"")), Throttled)
    assert error.retry_after is None


def test_retry_after_under_the_envelopes_own_status() -> None:
    """tooManyRequest under HTTP 200 is throttling too, with its Retry-After."""
    error = refusal(decoded(200, envelope(None, "tooManyRequest"), {"Retry-After": "5"}))
    assert isinstance(error, Throttled)
    assert error.retry_after == timedelta(seconds=5)


SAYS = {
    "TokensRefused": ("refused", "already used", "log in"),
    "CodeRefused": ("MFA code", "No token is spent", "once more"),
    "RequestRejected": ("rejected", "not known to be spent", "Check"),
    "ClientRefused": ("client id and secret", "No token is spent", "Check the keys"),
    "PermissionDenied": ("not permitted", "No token is spent", "Ask Mesh"),
    "NotFound": ("not find", "No token is known to be spent", "Check"),
    "UnavailableForLegalReasons": ("legal", "No token is known to be spent", "Ask Mesh"),
    "Conflict": ("at work", "No token is spent", "sent again"),
    "Locked": ("locked", "No token is spent", "sent again"),
    "Throttled": ("slow down", "No token is spent", "later"),
    "Unavailable": ("not available", "No token is spent", "later"),
    "ServerFailure": ("failed", "may be spent", "Keep the old tokens"),
    "RedirectRefused": ("redirect", "No token is known to be spent", "Check the base URL"),
    "UnreadableReply": ("reply", "may be spent", "Keep"),
}


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 409, 418, 423, 429, 451, 500, 503])
@pytest.mark.parametrize("code", [None, CODE])
def test_the_text_tells_what_whether_and_what_next(status: int, code: str | None) -> None:
    """Every error's text tells what happened, whether a token may be spent, and what to do."""
    error: MeshRefreshError = refusal(decoded(status, envelope(None, errorType="badRequest")), code=code)
    for part in SAYS[type(error).__name__]:
        assert part in str(error)


def test_rejected_by_a_proxy() -> None:
    """A refusal without the envelope is the request's, not the tokens'."""
    assert isinstance(error := refusal(decoded(400, b"<html>")), RequestRejected)
    assert not error.needs_reconnect


def test_a_success_has_its_envelope() -> None:
    """An outcome carries the typed envelope, with accounts and balances."""
    balance = {"symbol": "EUR", "buyingPower": 1.5, "cryptoBuyingPower": None, "cash": "0.25"}
    account = {"accountId": "A", "accountName": "Main", "fund": 2, "cash": 1e3, "isReconnected": True}
    inner = content({"account": {**account, "balances": [balance, "USD", None]}, **PAIR}, expiresInSeconds=60)
    reply = read(decoded(200, envelope(inner, teamCode="A7", errorData={"note": 1}))).reply
    assert (reply.http_status, reply.status, reply.team_code, reply.error_data) == (200, "ok", "A7", {"note": 1})
    assert reply.content is not None
    (listed,) = reply.content.broker_account_tokens
    assert listed.account is not None
    assert (listed.account.account_name, listed.account.fund, listed.account.is_reconnected) == ("Main", 2, True)
    (found,) = listed.account.balances
    assert (found.symbol, found.buying_power, found.crypto_buying_power, found.cash) == ("EUR", 1.5, None, 0.25)


@pytest.mark.parametrize("balances", ["text", 7, {"USD": "7"}, [[]], [{"symbol": 5, "cash": "1,000.00"}], None])
def test_wrong_types_never_cost_a_token(balances: object) -> None:
    """A balance, a name or a flag of a wrong type reads as absent, and the tokens are there."""
    account = {"accountId": "A", "accountName": 5, "fund": "1,000.00", "isReconnected": "yes", "balances": balances}
    inner = content({"account": account, **PAIR}, errorMessage=7, expiresInSeconds="soon")
    outcome = read(decoded(200, envelope(inner)))
    (fresh,) = outcome.all_tokens
    assert (fresh.access_token, fresh.refresh_token, fresh.account_id) == (*PAIR.values(), "A")


def test_an_account_of_a_wrong_type_never_costs_a_token() -> None:
    """An account that is no object is no account, and its tokens are those of the account asked for."""
    accounts: list[object] = ["A", 7, [], None, True]
    for account in accounts:
        (fresh,) = read(decoded(200, envelope(content({"account": account, **PAIR})))).all_tokens
        assert (fresh.refresh_token, fresh.ref) == (PAIR["refreshToken"], OLD.ref)
