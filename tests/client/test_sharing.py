"""What a call does about other exchanges of its token, as decided from values."""

import json
from datetime import UTC, datetime
from typing import Any, cast

from attrs import define, evolve

from mesh_refresh import HttpReply, NotSent, RefreshOptions, ServerFailure, Tokens, TokensRefused
from mesh_refresh.client.answers import Answered
from mesh_refresh.client.calls import Call, Result
from mesh_refresh.client.exchange import Ended, Exchange
from mesh_refresh.client.sharing import Begin, Fail, Join, Recall, Turn, WaitForEnd, WaitForNewer, decide, learn
from mesh_refresh.errors import MeshRefreshError
from mesh_refresh.masking import MaskedStr
from mesh_refresh.strategies import DefaultStrategy

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STRATEGY = DefaultStrategy()


def call_of(token: str, *, create_new: bool | None = None) -> Call:
    """A call to refresh an account with this refresh token."""
    options = RefreshOptions(create_new)
    tokens = Tokens("coinbase", token, ref="user-7")
    return Call(STRATEGY, tokens, STRATEGY.build(tokens, options), options)


def answer_to(call: Call, token: str) -> Answered:
    """A reply that gives this refresh token."""
    entry = {"accessToken": f"fake-access-for-{token}", "refreshToken": token}
    body = {"status": "ok", "content": {"status": "succeeded", "brokerAccountTokens": [entry]}}
    return Answered.to(call, HttpReply(200, {}, json.dumps(body).encode()), NOW, NOW, MaskedStr("fake-secret"))


@define(eq=False)
class Other:
    """As much of an exchange as the decision needs."""

    call: Call
    answered: Answered | None = None
    failed: MeshRefreshError | None = None
    ended: Ended | None = None

    def result_for(self, call: Call) -> Result:
        """Its outcome or error."""
        return self.answered.outcome_for(call) if self.answered else cast("Result", self.failed)


def exchange_of(call: Call, **state: Any) -> Exchange:
    return cast("Exchange", Other(call, **state))


OLD = call_of("fake-1")


def test_nothing_is_known_of_the_token() -> None:
    """An exchange of its own begins."""
    assert decide(Turn(OLD), None, {}) == Begin()


def test_an_equal_request_is_under_way() -> None:
    """It is shared, unless it was ended from our side, or its answer has nothing more for the account."""
    running = exchange_of(call_of("fake-1"))
    step = decide(Turn(OLD), None, {OLD.key: running})
    assert isinstance(step, Join)
    assert step.exchange is running
    ended = exchange_of(call_of("fake-1"), ended=Ended.DEADLINE)
    assert isinstance(decide(Turn(OLD), None, {OLD.key: ended}), WaitForEnd)
    answer = answer_to(OLD, "fake-2")
    told = exchange_of(call_of("fake-1"), answered=answer)
    assert isinstance(decide(Turn(OLD, used=frozenset([answer])), None, {OLD.key: told}), WaitForEnd)


def test_another_request_is_under_way() -> None:
    """Its end is waited for."""
    running = exchange_of(call_of("fake-1", create_new=True))
    assert isinstance(decide(Turn(OLD), None, {OLD.key: running}), WaitForEnd)


def test_the_answer_is_remembered() -> None:
    """It is taken, unless it was used, or the tokens in it are being renewed."""
    answer = answer_to(OLD, "fake-2")
    step = decide(Turn(OLD), (answer, OLD), {})
    assert isinstance(step, Recall)
    assert (step.answered, step.call, step.is_final) == (answer, OLD, False)
    assert decide(Turn(OLD, used=frozenset([answer])), (answer, OLD), {}) == Begin()
    newer = call_of("fake-2")
    assert isinstance(decide(Turn(OLD), (answer, OLD), {newer.key: exchange_of(newer)}), WaitForNewer)


def test_after_an_end_that_spent_nothing() -> None:
    """The call goes ahead as it is."""
    turn = Turn(OLD)
    assert learn(turn, exchange_of(OLD, failed=NotSent())) is turn


def test_after_an_end_that_another_request_cannot_better() -> None:
    """The error is the call's too: a refused token is refused again, and a token that may be spent stays unsent."""
    for error in (TokensRefused(), ServerFailure()):
        step = learn(Turn(OLD), exchange_of(OLD, failed=error))
        assert isinstance(step, Fail)
        assert step.error is error


def test_after_a_success() -> None:
    """The call is built anew from the new tokens. A call with a code is not: it takes the answer."""
    answer = answer_to(OLD, "fake-2")
    turn = learn(Turn(OLD), exchange_of(call_of("fake-1", create_new=True), answered=answer))
    assert isinstance(turn, Turn)
    assert turn.call.request.refresh_token == "fake-2"
    assert turn.call.gained >= {"refresh_token", "access_token"}
    with_code = evolve(OLD, pending=cast("Any", object()))
    step = learn(Turn(with_code), exchange_of(OLD, answered=answer))
    assert isinstance(step, Recall)
    assert step.is_final
