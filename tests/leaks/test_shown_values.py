"""Values: what they show of themselves."""

import json
from typing import Any

import pytest

from mesh_refresh import (
    AiohttpTransport,
    HttpReply,
    HttpRequest,
    MeshClient,
    MfaRequired,
    RefreshOptions,
    RefreshRequest,
    SendOptions,
    WeBullStrategy,
    codec,
    errors,
    keeper,
)
from mesh_refresh.client.calls import Call
from mesh_refresh.replies import outcomes
from tests.leaks.witness import KEYS, TOKENS, Witness, planted
from tests.replies.wire_replies import AT, content, entry, envelope

SENT = f"You sent {TOKENS.refresh_token}, {TOKENS.access_token} and {planted('metadata')}"
GOT = f"you got {planted('new-refresh')} and {planted('top-access')}"
NEW = entry("A", accessToken=planted("new-access"), refreshToken=planted("new-refresh"), tokenId=planted("new-id"))
TOP = {"accessToken": planted("top-access"), "refreshToken": planted("top-refresh")}


def request() -> RefreshRequest:
    return WeBullStrategy().build(TOKENS, RefreshOptions())


def reply(status: str = "succeeded", *, http: int = 200, said: str = "", **fields: Any) -> HttpReply:
    body = envelope(content(NEW, status=status, errorMessage=said, **TOP), message=said, displayMessage=said, **fields)
    return HttpReply(http, {"Set-Cookie": planted("cookie")}, json.dumps(body).encode())


def interpreted(http: HttpReply, *, code: str | None = None) -> Any:
    asked = request() if code is None else WeBullStrategy().build_mfa(continuation(), code)
    try:
        return WeBullStrategy().interpret(asked, TOKENS, codec.decode_reply(http, at=AT), AT)
    except errors.MeshRefreshError as error:
        return error


def continuation() -> MfaRequired:
    asked = interpreted(reply("mfaRequired"))
    assert isinstance(asked, MfaRequired)
    return asked


async def never() -> None: ...


def test_values_mask_themselves(witness: Witness) -> None:
    """Tokens, requests, replies and outcomes show that there are secrets, and none of them."""
    http = reply()
    call = Call(WeBullStrategy(), TOKENS, request(), pending=continuation())
    sent = HttpRequest("https://x", {"X-Client-Secret": KEYS["client secret"]}, codec.encode_request(request()), never)
    for value in (
        TOKENS,
        request(),
        http,
        codec.decode_reply(http, at=AT),
        sent,
        call,
        continuation(),
        interpreted(http),
    ):
        witness.look_at(value)
        witness.look_at([value])
        witness.look_at({"value": (value,)})


def test_client_and_transport(witness: Witness) -> None:
    """The client and its transport show neither keys nor what they were given."""
    secret = KEYS["client secret"]
    for given in (secret, lambda: secret):
        client = MeshClient(KEYS["client id"], given)
        witness.look_at(client)
        witness.look_inside(client, "client")
    witness.look_at(AiohttpTransport())
    witness.look_at(SendOptions())


CODES = [200, 302, 400, 401, 403, 404, 408, 409, 418, 423, 429, 451, 500, 503]
STATUSES = ["succeeded", "failed", "mfaRequired"]


def look_at_outcome(witness: Witness, found: Any) -> None:
    """An outcome, and the errors that can be made of it."""
    witness.look_at(found)
    if isinstance(found, MfaRequired):
        witness.look_at(outcomes.MfaPending(found))
    elif isinstance(found, errors.MeshRefreshError):
        witness.saw("facts", repr((found.facts, found.message, found.display_message, found.error_data)))
    else:
        witness.look_at(outcomes.AccountNotInReply(found))
        witness.look_at(outcomes.NotSaved("Not saved.", (found,)))


@pytest.mark.once
@pytest.mark.parametrize("http", CODES)
@pytest.mark.parametrize("code", [None, planted("code")])
@pytest.mark.parametrize("status", STATUSES)
def test_echoes_of_what_was_sent(witness: Witness, http: int, code: str | None, status: str) -> None:
    """A server that writes what it was sent into every message gets it into no outcome and no error."""
    said = f"{SENT} and {code}" if code else SENT
    echo = {"displayMessage": said, "message": said, "errorType": said, "errorHash": said, "teamCode": said}
    bare = json.dumps(envelope(content(status=status, errorMessage=said), **echo, errorData={said: [said]}))
    for body in (bare, json.dumps({"title": said, "detail": said}), said, '{"refreshToken": "' + said):
        for complete in (True, False):
            look_at_outcome(witness, interpreted(HttpReply(http, {}, body.encode(), complete), code=code))


@pytest.mark.parametrize("http", CODES)
@pytest.mark.parametrize("status", STATUSES)
def test_messages_that_quote_new_tokens(witness: Witness, http: int, status: str) -> None:
    """A server that quotes the new tokens in its messages gets them into no outcome and no error."""
    look_at_outcome(witness, interpreted(reply(status, http=http, said=GOT, errorData={"said": GOT})))


def classes() -> list[type[errors.MeshRefreshError]]:
    found = [errors.MeshRefreshError]
    for cls in found:
        found.extend(sub for sub in cls.__subclasses__() if sub not in found)
    return [cls for cls in found if cls.__module__.startswith("mesh_refresh") and not cls.__name__.startswith("_")]


def test_carriers_stay_out_of_pickles(witness: Witness) -> None:
    """Every error can be pickled and copied, and what carries tokens is not in it."""
    outcome, pending = interpreted(reply()), continuation()
    special: dict[type, errors.MeshRefreshError] = {
        keeper.ReconnectNeeded: keeper.ReconnectNeeded(keeper.Reason.REFUSED),
        keeper.LeftInSpool: keeper.LeftInSpool("Not saved.", (outcome, pending)),
        keeper.NotReadyInTime: keeper.NotReadyInTime("the exchange is still under way"),
        outcomes.CodeRefused: outcomes.CodeRefused(pending=pending),
        outcomes.MfaPending: outcomes.MfaPending(pending, pending_id="q-1"),
        outcomes.AccountNotInReply: outcomes.AccountNotInReply(outcome),
        outcomes.NotSaved: outcomes.NotSaved("Not saved.", (outcome, pending)),
        outcomes.UnreadableReply: outcomes.UnreadableReply(body=reply().body, may_hold_token=True, before=TOKENS),
    }
    for cls in classes():
        error = special.get(cls) or cls()
        witness.look_at(error)
        witness.look_at(error.for_another())
        for name in ("pending", "outcome", "outcomes", "before"):
            witness.look_at(getattr(error, name, None), name)


def test_the_bytes_of_an_unreadable_reply_are_there_and_masked(witness: Witness) -> None:
    """The body that may be the only copy of a token is on the error to the byte, and a repr does not show it."""
    http = reply("failed")
    error = interpreted(http)
    assert error.body == http.body
    witness.look_inside(error, "error")
