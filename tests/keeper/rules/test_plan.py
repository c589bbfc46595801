"""What is done with a login that was just claimed: the order of the reasons, each with those behind it true as well."""

from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh.keeper.rules.mfa import mark_answered, park_with_question
from mesh_refresh.keeper.rules.plan import Claimed, LeaveLease, Plan, WriteBack, not_sent, plan
from mesh_refresh.keeper.rules.select import Send, choose_due
from mesh_refresh.logins import AccountState, Login, Moving, Reason, Way
from tests.keeper.making import POLICY, at, attempt, changed, context, made, question

NOW = context(100)


def due(**fields: Any) -> Login:
    """A login that was claimed twice, and has an account that is due."""
    return evolve(changed(made(), due_at=at(50), **fields), attempt=2)


def planned(login: Login, **facts: Any) -> Plan:
    """The plan for a claim of the loop of which these facts are not as usual."""
    usual: dict[str, Any] = {"open_attempt": False, "unsaved": False, "with_code": False}
    usual |= {"choose": choose_due, "may_resend": lambda _: True}
    return plan(login, Claimed(**(usual | facts)), NOW)


def written(login: Login, **facts: Any) -> tuple[Login, timedelta]:
    """What is written of `login` where the plan is to send nothing, and for how long no claim gets it."""
    found = planned(login, **facts)
    assert isinstance(found, WriteBack)
    return found.change(login, NOW).login, found.hold


def test_what_is_due_is_sent() -> None:
    login = due()
    assert planned(login) == Send(login.accounts[0])


def test_tokens_on_their_way_into_the_store_are_waited_for() -> None:
    """What is stored may be spent. It is not due again before the next look, and nothing of it is called unknown."""
    after, hold = written(due(), unsaved=True)
    assert after.accounts[0].due_at == at(100) + POLICY.poll
    assert after.accounts[0].unknown_since is None
    assert hold == timedelta()


def test_their_write_gives_back_a_lease_with_an_open_attempt() -> None:
    """If this one gave it back, another process would take the attempt for settled."""
    assert planned(due(), unsaved=True, open_attempt=True) == LeaveLease()


def test_an_open_attempt_is_stamped_and_held() -> None:
    """Also where the account is due; where its strategy forbids a second request, it is parked."""
    after, hold = written(due(), open_attempt=True)
    assert after.accounts[0].unknown_since == at(100)
    assert hold == POLICY.resend_after
    forbidden, _ = written(due(), open_attempt=True, may_resend=lambda _: False)
    assert forbidden.accounts[0].reason is Reason.UNKNOWN


def test_an_open_attempt_whose_outcome_was_written_changes_nothing() -> None:
    """The owner of its lease was late, but not too late."""
    login = due(settled_by=1, produced_by=1)
    assert planned(login, open_attempt=True) == Send(login.accounts[0])


def test_a_login_that_is_moving_is_not_sent() -> None:
    login = evolve(due(), moving=Moving(Way.ARRIVING))
    after, hold = written(login)
    assert after.moving == login.moving
    assert hold == timedelta()


def test_what_must_not_be_sent_yet_is_put_off() -> None:
    after, _ = written(due(resend_not_before=at(500), unknown_since=at(40)))
    assert after.accounts[0].due_at == at(500)


def test_what_has_expired_is_parked() -> None:
    login = evolve(changed(made(), state=AccountState.NOT_REFRESHABLE, due_at=at(50)), attempt=2)
    account = login.accounts[0]
    ended = changed(login, tokens=evolve(account.tokens, refresh_token=None, expires_at=at(60)))
    assert written(ended)[0].accounts[0].reason is Reason.EXPIRED


@pytest.mark.parametrize("with_code", [False, True])
def test_tokens_that_may_be_spent_are_not_sent_where_the_strategy_forbids_it(with_code: bool) -> None:
    """But for a code: the question was asked after that."""
    login = due(unknown_since=at(40))
    facts: dict[str, Any] = {"may_resend": lambda _: False, "with_code": with_code}
    if with_code:
        assert planned(login, **facts) == Send(login.accounts[0])
    else:
        assert written(login, **facts)[0].accounts[0].reason is Reason.UNKNOWN


def test_what_was_not_sent_changes_nothing() -> None:
    login = due()
    assert not_sent(login, attempt(login, 3), NOW, back_off=False).login == login


def test_what_would_not_be_sent_at_once_again_backs_off() -> None:
    login = due()
    assert not_sent(login, attempt(login, 3), NOW, back_off=True).login.accounts[0].due_at == at(100) + POLICY.backoff


def test_a_question_is_open_again_where_its_code_was_not_sent() -> None:
    login = made()
    asked = park_with_question(login, attempt(login, 1), question(), NOW).login
    sent = mark_answered(asked, asked.accounts[0])
    code = attempt(asked, 2, code_for="question-1")
    after = not_sent(sent, code, NOW, back_off=False).login.accounts[0].pending
    assert after is not None
    assert not after.answered
