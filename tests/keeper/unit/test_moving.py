"""What becomes of a login that is in both stores of a copy."""

from mesh_refresh import BrokerType, Tokens
from mesh_refresh.keeper import Account, AccountState, Login
from mesh_refresh.keeper.moving import joined


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
