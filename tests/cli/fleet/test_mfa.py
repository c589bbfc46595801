"""`mesh-refresh mfa`: the code that a broker asked for, typed unseen, in a process of its own."""

import pytest

from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.testing import FakeLogin, Fault
from tests.cli.fleet.conftest import OpenFleet
from tests.cli.test_codes import person


@pytest.fixture
def login(fleet: OpenFleet) -> FakeLogin:
    """One that waits for its code."""
    login = fleet.add("user-7", "vanguard", mfa=True, mfa_rotates=True)
    assert fleet.once("-q").code == Exit.CODE_NEEDED
    return login


def test_a_person_types_the_code_unseen(fleet: OpenFleet, login: FakeLogin) -> None:
    with person(fleet.cli, "mfa", "user-7") as somebody:
        somebody.sees("MFA code for vanguard")
        somebody.types("999999")
        somebody.sees("the code was refused; try again")
        somebody.sees("MFA code for vanguard")
        somebody.types(login.code)
        screen = somebody.leaves()
        assert somebody.process.returncode == 0
    assert "user-7: refreshed." in screen
    assert login.code not in screen
    assert fleet.states() == {"user-7": "active"}
    assert not fleet.lost()


def test_a_code_from_the_environment(fleet: OpenFleet, login: FakeLogin) -> None:
    fleet.cli.monkeypatch.setenv("MESH_MFA_CODE", login.code)
    ran = fleet("mfa", "user-7")
    assert ran.code == 0
    assert login.code not in ran.err
    assert not fleet.lost()


def test_three_wrong_codes_leave_the_question_open(fleet: OpenFleet, login: FakeLogin) -> None:
    ran = fleet("mfa", "user-7", "--code-stdin", stdin="1\n2\n3\n" + login.code)
    assert ran.code == Exit.CODE_NEEDED
    assert fleet.fake.exchanges["wrongCode"] == 3
    ran = fleet("mfa", "user-7", "--code-stdin", stdin="4\n")
    assert ran.code == Exit.CODE_NEEDED
    assert "the code was refused" in ran.err
    assert "no code was given" not in ran.err, "one was"
    assert fleet("mfa", "user-7", "--code-stdin", stdin=login.code).code == 0


def test_nobody_to_ask_leaves_it_open_too(fleet: OpenFleet, login: FakeLogin) -> None:
    sent = len(fleet.fake.requests)
    ran = fleet("mfa", "user-7")
    assert ran.code == Exit.CODE_NEEDED
    assert "no code was given, and none was sent; the question stays open" in ran.err
    assert len(fleet.fake.requests) == sent


def test_a_broker_that_asks_twice(fleet: OpenFleet) -> None:
    login = fleet.add("user-7", "vanguard", mfa=True, mfa_rounds=2)
    fleet.once("-q")
    ran = fleet("mfa", "user-7", "--code-stdin", stdin=login.code)
    assert ran.code == Exit.CODE_NEEDED
    assert "asks for another code" in ran.err
    assert fleet("mfa", "user-7", "--code-stdin", stdin=login.code).code == 0
    assert not fleet.lost()


def test_a_new_code_on_demand(fleet: OpenFleet, login: FakeLogin) -> None:
    old = login.code
    assert fleet("mfa", "user-7", "--restart").code == Exit.CODE_NEEDED
    assert login.codes_asked == 2
    assert login.code != old
    assert fleet("mfa", "user-7", "--code-stdin", stdin=login.code).code == 0
    assert not fleet.lost()


def test_an_account_that_waits_for_nothing_can_be_made_to_ask(fleet: OpenFleet, login: FakeLogin) -> None:
    """After a refresh that needed a code, the loop leaves it alone: a person begins the next one."""
    fleet("mfa", "user-7", "--code-stdin", stdin=login.code)
    assert fleet("mfa", "user-7").code == Exit.INVALID
    assert fleet("mfa", "user-7", "--restart").code == Exit.CODE_NEEDED
    assert fleet("mfa", "user-7", "--code-stdin", stdin=login.code).code == 0
    fleet.add("user-8")
    ran = fleet("mfa", "user-8", "--restart")
    assert ran.code == 0
    assert "user-8: refreshed; the broker wanted no code." in ran.err
    assert not fleet.lost()


def test_a_question_can_be_named(fleet: OpenFleet, login: FakeLogin) -> None:
    pending = fleet.listed()[0]["pending_id"]
    assert fleet("mfa", "user-7", "--pending", "another", "--code-stdin", stdin=login.code).code == Exit.INVALID
    assert fleet("mfa", "user-7", "--pending", pending, "--restart").code == Exit.INVALID
    assert fleet("mfa", "user-7", "--pending", pending, "--code-stdin", stdin=login.code).code == 0


def test_a_code_answers_the_question_that_was_asked(fleet: OpenFleet, login: FakeLogin) -> None:
    """While somebody types, somebody else lets the broker ask anew: what is typed then is for neither."""
    with person(fleet.cli, "mfa", "user-7") as somebody:
        somebody.sees("MFA code for vanguard")
        assert fleet("mfa", "user-7", "--restart").code == Exit.CODE_NEEDED
        sent = len(fleet.fake.requests)
        somebody.types(login.code)
        screen = somebody.leaves()
        assert somebody.process.returncode == Exit.INVALID
    assert "No code is waited for here" in screen
    assert len(fleet.fake.requests) == sent


def test_a_login_that_is_not_there(fleet: OpenFleet, login: FakeLogin) -> None:
    for arguments in (["nobody"], ["user-7", "--account", "nobody"]):
        assert fleet("mfa", *arguments).code == Exit.INVALID
        assert fleet("mfa", *arguments, "--restart").code == Exit.INVALID


def test_an_account_that_is_named(fleet: OpenFleet) -> None:
    login = fleet.add("user-7", "vanguard", mfa=True, accounts=2)
    fleet.once("-q")
    (waiting,) = fleet.listed("--state", "mfa_required")
    ran = fleet("mfa", "user-7", "--account", waiting["account"], "--code-stdin", stdin=login.code)
    assert ran.code == 0


def test_a_failure_with_the_code_is_one_line(fleet: OpenFleet, login: FakeLogin) -> None:
    fleet.fake.fail(Fault.throttle())
    ran = fleet("mfa", "user-7", "--code-stdin", stdin=login.code)
    assert ran.code == Exit.TRY_AGAIN
    assert ran.err.count("\n") == 1
    assert fleet("mfa", "user-7", "--code-stdin", stdin=login.code).code == 0


def test_ctrl_c_at_the_question(fleet: OpenFleet, login: FakeLogin) -> None:
    import signal

    for number, code in ((signal.SIGINT, Exit.INTERRUPTED), (signal.SIGTERM, Exit.TERMINATED)):
        with person(fleet.cli, "mfa", "user-7") as somebody:
            somebody.sees("MFA code for vanguard")
            screen = somebody.interrupts(number)
            assert somebody.process.returncode == code
        assert "Traceback" not in screen
    assert fleet.states() == {"user-7": "mfa_required"}
