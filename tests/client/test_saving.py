"""A program that saves as the README does loses nothing, however the accounts of its logins share tokens."""

from typing import Any

import pytest
from attrs import evolve

from mesh_refresh import MeshClient, MfaRequired, Outcome, Tokens, UnreadableReply
from mesh_refresh.testing import FakeMesh, Replies, Sharing
from tests.sharing import KNOWABLE


class Database:
    """Rows of one person, by account."""

    def __init__(self, accounts: tuple[Tokens, ...]) -> None:
        self.rows = {it.account_id: it.to_json() for it in accounts}

    def load(self, account_id: str | None) -> Tokens | None:
        document = self.rows.get(account_id)
        return None if document is None else Tokens.from_json(document)

    @property
    def all(self) -> list[Tokens]:
        return [Tokens.from_json(document) for document in self.rows.values()]

    async def save(self, outcome: Outcome) -> None:
        """The README's; and for accounts that share what was spent and are left out, as docs/first-refresh.md says."""
        assert not isinstance(outcome, UnreadableReply)
        for fresh in outcome.all_tokens:
            self.rows[fresh.account_id] = outcome.onto(self.load(fresh.account_id) or fresh).to_json()
        for stored in self.all:
            self.rows[stored.account_id] = outcome.onto(stored).to_json()


def of(login: Any) -> Database:
    """Each account under a ref, with metadata and a token of its own that no other account must get."""
    return Database(tuple(evolve(it, ref=it.account_id, metadata={"of": it.account_id}) for it in login.tokens))


async def exchanged(mesh: MeshClient, login: Any, tokens: Tokens) -> None:
    outcome = await mesh.refresh(tokens)
    while isinstance(outcome, MfaRequired):
        outcome = await mesh.submit_mfa(MfaRequired.from_json(outcome.to_json()), login.code)
    assert outcome.tokens.account_id == tokens.account_id


@pytest.mark.parametrize(
    "more", [{}, {"rotates": False}, {"mfa": True}, {"mfa": True, "mfa_rotates": True}, {"token_ids": True}]
)
@pytest.mark.parametrize(("sharing", "replies"), KNOWABLE)
async def test_nothing_is_lost(fake: FakeMesh, sharing: Sharing, replies: Replies, more: dict[str, Any]) -> None:
    """Each account in turn, from what is stored: nothing that is live is lost, and no account gets another's."""
    login = fake.login("etoro", accounts=3, sharing=sharing, replies_with=replies, revokes_on_reuse=True, **more)
    database = of(login)
    async with MeshClient(fake.client_id, fake.client_secret, base_url=fake.base_url, on_outcome=database.save) as mesh:
        for account_id in ("acc-1", "acc-2", "acc-3", "acc-3", "acc-1"):
            stored = database.load(account_id)
            assert stored is not None
            await exchanged(mesh, login, stored)
            assert fake.lost(database.all) == []
            fresh = database.load(account_id)
            assert fresh is not None
            assert fake.is_live(fresh.auth_token)
    assert fake.reuses == []
    assert [(it.account_id, it.ref, it.metadata) for it in database.all] == [
        (name, name, {"of": name}) for name in login.account_ids
    ]


async def test_what_a_first_reply_renewed_is_news_of_the_second(fake: FakeMesh) -> None:
    """A program without a hook saves only in the end: the refresh token that the question brought is not lost."""
    login = fake.login("vanguard", mfa=True, mfa_rotates=True, rotates=False)
    async with MeshClient(fake.client_id, fake.client_secret, base_url=fake.base_url) as mesh:
        pending = await mesh.refresh(login.token)
        assert isinstance(pending, MfaRequired)
        outcome = (await mesh.submit_mfa(pending, login.code)).unwrap()
    assert fake.lost([outcome.onto(login.token)]) == []
