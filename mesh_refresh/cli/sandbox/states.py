"""A login in each state that a caller of the service can meet, for people who write clients."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta

from attrs import evolve

from mesh_refresh import MeshRefreshError
from mesh_refresh.keeper import Keeper, Login, Moving, Way
from mesh_refresh.stores import Cipher, Row, Store, row_of
from mesh_refresh.testing import FakeLogin, FakeMesh, Fault
from mesh_refresh.testing.clock import ManualClock, MovableClock

LOGINS: Mapping[str, str] = {
    "active": "fresh tokens",
    "several-accounts": "two accounts: name one by accountId, else ambiguous_account",
    "webull": "fresh tokens, with a trade token",
    "managed": "fresh tokens, with a token id in place of the access token",
    "not-refreshable": "an access token that ends, and nothing to refresh it with",
    "mfa-required": "mfa_pending: it waits for a code",
    "reconnect-required": "reconnect_required: its tokens were refused twice",
    "unreadable": "reconnect_required: a reply that cannot be read may hold its only live token",
    "outcome-unknown": "not_ready: its tokens may be spent, and are sent again in some minutes",
    "delayed": "not_ready: its broker takes the tokens a day later",
    "paused": "not_ready: its broker (gemini) is paused",
    "arriving": "not_ready: it is being moved into this store",
    "moved": "login_moved: it is in another store",
    "wrong-key": "login_unreadable: its row does not open with this key",
}
"""What its tokens are answered with, by login id."""

_WAIT = timedelta(seconds=5)
_LIFETIME, _CONFIRMED = timedelta(hours=2), timedelta(minutes=3)
"""Until the first tokens have ended, and until a refusal is confirmed."""


async def add_logins(fake: FakeMesh, keeper: Keeper, store: Store) -> FakeLogin:
    """Give the fleet of `keeper`, which has no loop, the logins of `LOGINS`.

    The clock of `fake` is put back by the hours that pass meanwhile, and is right at the end.

    Returns the login that waits for a code.
    """
    _clock(fake).jump(-(_LIFETIME + _CONFIRMED))
    coded = fake.login("vanguard", mfa=True)
    refused, damaged, cut = (fake.login(broker) for broker in ("coinbase", "kraken", "bittrex"))
    ended = {"mfa-required": coded, "reconnect-required": refused, "unreadable": damaged, "outcome-unknown": cut}
    others = {name: fake.login(broker) for name, broker in (("paused", "gemini"), *((way, "coinbase") for way in Way))}
    for name, login in {**ended, **others}.items():
        await keeper.add(name, login.token)
    await keeper.pause("gemini", note="An outage, to try clients with.", by="sandbox")
    _clock(fake).advance(_LIFETIME)
    refused.revoke()
    fake.fail(Fault.all()["broken json"], login=damaged)
    await _ask(keeper, "mfa-required", "reconnect-required", "unreadable")
    _clock(fake).advance(_CONFIRMED)
    await _ask(keeper, "reconnect-required")  # the second refusal counts
    fake.fail(Fault.all()["cut"], login=cut)
    await _ask(keeper, "outcome-unknown")
    await keeper.add("active", fake.login("coinbase").token)
    await keeper.add("several-accounts", fake.login("robinhood", accounts=2).tokens)
    await keeper.add("webull", fake.login("weBull").token)
    await keeper.add("managed", fake.login("coinbase", token_ids=True).token)
    await keeper.add("not-refreshable", fake.login("eTrade", refreshable=False).token)
    await keeper.add("delayed", fake.delayed_login().token)
    for way in Way:
        moving = evolve(await keeper.login(way), moving=Moving(way))
        await store.swap(row_of(store.cipher, moving, fake.clock.now()))
    await store.insert(_row_of_another_key(await keeper.login("active"), fake))
    return coded


def _row_of_another_key(login: Login, fake: FakeMesh) -> Row:
    other = Cipher([Cipher.generate_key()])
    return row_of(other, evolve(login, login_id="wrong-key"), fake.clock.now())


def _clock(fake: FakeMesh) -> ManualClock | MovableClock:
    assert isinstance(fake.clock, ManualClock | MovableClock)  # noqa: S101
    return fake.clock


async def _ask(keeper: Keeper, *login_ids: str) -> None:
    for login_id in login_ids:
        with suppress(MeshRefreshError):
            await keeper.tokens(login_id, max_wait=_WAIT)
