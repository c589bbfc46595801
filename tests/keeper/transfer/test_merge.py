"""What becomes of a login that is in both stores of a copy."""

from attrs import evolve

from mesh_refresh import BrokerType, Tokens
from mesh_refresh.keeper import Account, AccountState, Login, Reason
from mesh_refresh.keeper.transfer.merge import joined, marked, taken_over
from tests.keeper.making import context


def login(*tokens: str) -> Login:
    """One that has accounts of the same epochs, which no id tells apart."""
    accounts = tuple(
        Account(Tokens("coinbase", token), AccountState.ACTIVE, epoch=f"epoch {number}")
        for number, token in enumerate(tokens)
    )
    return Login("a", BrokerType.COINBASE, accounts)


def test_accounts_of_one_epoch_are_one_whatever_their_tokens_are_by_now() -> None:
    """It was moved there already, and so much has come of it there that nobody remembers the tokens of before."""
    there = login("later", "later, too")
    assert joined(login("earlier", "earlier, too"), there) == there


def with_late(source: Login) -> Login:
    """A moved login for which a reply came late: its exchange had been written before the move."""
    account = evolve(source.accounts[0], body=b"late", state=AccountState.UNREADABLE, reason=Reason.UNREADABLE)
    return evolve(source, accounts=(account, *source.accounts[1:]))


def test_a_reply_that_came_late_after_the_move_is_taken_over() -> None:
    """Nothing was exchanged in the new store yet: the account is parked there too, with the bytes."""
    there = login("r-0")
    source = with_late(marked(there, "there"))
    after = taken_over(source, there, context())
    assert (after.accounts[0].state, after.accounts[0].body) == (AccountState.UNREADABLE, b"late")
    assert taken_over(source, after, context()) == after


def test_a_late_reply_beside_what_the_new_store_has_exchanged() -> None:
    """The newer pair stays, and so does a body that is there."""
    before = login("r-0")
    account = evolve(before.accounts[0], tokens=Tokens("coinbase", "r-1"), settled_by=3, produced_by=3)
    for body, both in ((None, b"late"), (b"there", b"there\nlate")):
        there = evolve(before, accounts=(evolve(account, body=body),))
        after = taken_over(with_late(marked(before, "there")), there, context())
        assert after.accounts == (evolve(account, body=both),)
