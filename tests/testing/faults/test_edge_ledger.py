"""The ledger knows what an edge wrote, and whose each token is that somebody keeps."""

from collections.abc import AsyncIterator

import pytest
from attrs import evolve

from mesh_refresh import Refreshed, Tokens, UnreadableReply
from mesh_refresh.testing import Edge, EdgeFault, FakeLogin, FakeMesh, Fault, Gate, LossReason, Moment, Reach, Relay
from tests.testing.faults.raw import RawClient, closing

FAULTS = EdgeFault.all()
UNSENT = {name for name, fault in FAULTS.items() if not fault.forwards}


@pytest.fixture(autouse=True)
async def closed() -> AsyncIterator[None]:
    async with closing():
        yield


@pytest.fixture
async def fake() -> AsyncIterator[FakeMesh]:
    async with FakeMesh() as fake:
        yield fake


async def exchanged(edge: Edge, login: FakeLogin, client: RawClient | None = None) -> tuple[bytes, Relay]:
    """What comes of a refresh of `login`, to a client that stays until the end."""
    client = client or await RawClient.connect(edge)
    count = edge.requests + 1
    client.refresh(edge.fake, login)
    await edge.received(count)
    await edge.idle()
    client.relays.append(edge.relays[-1])
    await client.has(sum(relay.size for relay in client.relays))
    return b"".join(client.segments), client.relays[0]


@pytest.mark.parametrize("name", FAULTS)
async def test_what_is_written_counts_and_nothing_else(fake: FakeMesh, name: str) -> None:
    """A client that keeps every byte loses nothing but what was not written, and that is told as undelivered."""
    async with Edge(fake) as edge:
        edge.fail(FAULTS[name])
        client = await RawClient.connect(edge)
        login = fake.login("coinbase")
        got, relay = await exchanged(edge, login, client)
        if name.endswith(Moment.NEXT_REQUEST.value):
            got, relay = await exchanged(edge, fake.login("coinbase"), client)
        assert relay.done or name.startswith("half-closed")
        assert not relay.hung_up
        assert bool(relay.new) is (name not in UNSENT)
        fake.hold_body(got)
        assert [lost.reason for lost in fake.lost()] == ([LossReason.UNDELIVERED] if relay.reach is Reach.GONE else [])
        assert len(fake.undelivered) == (relay.reach is Reach.GONE)
        assert relay.reach is FAULTS[name].reach or name.startswith(("cut at", "reset at"))
        assert not fake.misplaced()


async def cut_at_each(fake: FakeMesh, other: EdgeFault, places: range) -> list[Reach]:
    """What is left of replies that are cut at these bytes; the ledger agrees."""
    found = []
    async with Edge(fake) as edge:
        for place in places:
            edge.fail(EdgeFault.cut_at(place) | other)
            login = fake.login("coinbase")
            got, relay = await exchanged(edge, login)
            assert relay.size == len(got)
            new = login.live[0].refresh_token
            assert [it.value for it in fake.undelivered] == ([new] if relay.reach is Reach.GONE else [])
            fake.ledger.undelivered.clear()
            found.append(relay.reach)
    return found


def by_turns(gone: int, part: int, whole: int) -> list[Reach]:
    """So many times nothing that helps, then bytes, then all of it."""
    return [Reach.GONE] * gone + [Reach.BYTES] * part + [Reach.WHOLE] * whole


async def test_a_cut_at_each_byte_leaves_what_it_leaves(fake: FakeMesh) -> None:
    """Nothing up to the end of the last token, then bytes, and all of it with the last brace."""
    async with Edge(fake) as edge:
        _, whole = await exchanged(edge, fake.login("coinbase"))
    assert await cut_at_each(fake, EdgeFault.none(), range(-whole.size, 0)) == by_turns(whole.size - 5, 5, 0)
    assert await cut_at_each(fake, EdgeFault.none(), range(10**6, 10**6 + 1)) == [Reach.WHOLE]


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("one chunk", (48, 5, 7)),
        ("chunk within the refresh token", (48, 5, 7)),
        ("chunks of one byte", (23, 30, 7)),  # each byte takes six
    ],
)
async def test_chunk_lines_hide_no_token(fake: FakeMesh, name: str, counts: tuple[int, int, int]) -> None:
    assert await cut_at_each(fake, FAULTS[name], range(-60, 0)) == by_turns(*counts)


async def test_a_coding_hides_no_token(fake: FakeMesh) -> None:
    """The check sum and the length at the end of gzip are eight bytes without which all of it can be read."""
    reaches = await cut_at_each(fake, FAULTS["coding gzip over gzip"], range(-60, 0))
    assert reaches[-8:] == [Reach.WHOLE] * 8
    assert reaches[:20] == [Reach.GONE] * 20
    assert reaches == by_turns(*(reaches.count(reach) for reach in (Reach.GONE, Reach.BYTES, Reach.WHOLE)))


async def test_a_client_that_hangs_up_is_to_blame(fake: FakeMesh) -> None:
    gate = Gate()
    async with Edge(fake, EdgeFault.early(200, when=gate)) as edge:
        client = await RawClient.connect(edge)
        client.refresh(fake, fake.login("coinbase"))
        await gate.entered.wait()
        client.close()
        await client.over
        # Another connection's round trip: by then the edge has seen the end of this one.
        edge.fail(EdgeFault.none())
        other = await RawClient.connect(edge)
        other.refresh(fake, fake.login("tdAmeritrade"))
        await other.has(300)
        gate.release()
        await edge.idle()
    assert [lost.reason for lost in fake.lost()] == [LossReason.HUNG_UP]
    assert (edge.relays[0].hung_up, edge.relays[0].reach) == (True, Reach.LATE)


async def test_an_edge_that_is_stopped_has_withheld_the_rest(fake: FakeMesh) -> None:
    gate = Gate()
    async with Edge(fake, EdgeFault.early(200, when=gate)) as edge:
        client = await RawClient.connect(edge)
        client.refresh(fake, fake.login("coinbase"))
        await gate.entered.wait()
    assert [lost.reason for lost in fake.lost()] == [LossReason.UNDELIVERED]
    assert (edge.relays[0].hung_up, edge.relays[0].reach) == (False, Reach.GONE)


async def test_what_the_fake_withheld_stays_withheld(fake: FakeMesh) -> None:
    async with Edge(fake) as edge:
        fake.fail(Fault.half_body())
        _, relay = await exchanged(edge, fake.login("coinbase"))
        assert [lost.reason for lost in fake.lost()] == [LossReason.UNDELIVERED]
        assert len(relay.new) == 1  # the access token; the refresh token has not come to the edge
        fake.fail(Fault.gzip())
        got, relay = await exchanged(edge, fake.login("coinbase"))
        fake.hold_body(got)
        assert relay.reach is Reach.WHOLE
        assert len(fake.lost()) == 1


async def test_only_refresh_tokens_are_withheld_and_only_new_tokens_count(fake: FakeMesh) -> None:
    async with Edge(fake, FAULTS["cut at 0"]) as edge:
        _, relay = await exchanged(edge, fake.login("tdAmeritrade"))
        assert (relay.reach, len(relay.new)) == (Reach.GONE, 1)
        assert not fake.undelivered
        fake.fail(Fault.echo())
        _, relay = await exchanged(edge, fake.login("coinbase"))
        assert (relay.reach, relay.new) == (Reach.UNTOUCHED, ())
        assert not fake.undelivered


# Whose a token is.


async def refreshed(fake: FakeMesh, login: FakeLogin) -> Refreshed:
    async with fake.client() as mesh:
        return (await mesh.refresh(login.token)).unwrap()


async def test_a_token_is_misplaced_where_it_is_kept_for_another_login(fake: FakeMesh) -> None:
    anna, ben = fake.login("coinbase"), fake.login("coinbase")
    outcome = await refreshed(fake, anna)
    assert fake.misplaced() == []
    await fake.saved(evolve(outcome, before=ben.token))
    found = fake.misplaced()
    assert {(it.kept_for, it.login, it.account, it.broker) for it in found} == {(ben.id, anna.id, "acc-1", "coinbase")}
    assert {it.value for it in found} == {outcome.tokens.refresh_token, outcome.tokens.access_token}
    assert "fake-" not in repr(found)


async def test_the_login_of_an_outcome_is_told_by_an_access_token_too(fake: FakeMesh) -> None:
    anna, ben = fake.login("coinbase"), fake.login("eTrade")
    outcome = await refreshed(fake, anna)
    await fake.saved(evolve(outcome, before=ben.token))
    assert {it.kept_for for it in fake.misplaced()} == {ben.id}


async def test_what_a_database_holds_can_be_asked_about(fake: FakeMesh) -> None:
    """By the login or its id; what the fake has not issued is nobody's."""
    anna, ben = fake.login("weBull"), fake.login("weBull")
    assert fake.misplaced({anna: anna.tokens, ben: [*ben.tokens, Tokens("weBull", "not-of-the-fake")]}) == []
    swapped = evolve(anna.token, refresh_token=ben.token.refresh_token)
    (found,) = fake.misplaced({anna: [swapped]})
    assert (found.kept_for, found.login, found.value) == (anna.id, ben.id, ben.token.refresh_token)
    (found,) = fake.misplaced({anna.id: [evolve(anna.token, trade_token=ben.token.trade_token)]})
    assert found.value == ben.token.trade_token


async def test_bytes_that_are_kept_are_not_misplaced(fake: FakeMesh) -> None:
    """Nobody takes them for tokens of that login."""
    anna, ben = fake.login("coinbase"), fake.login("coinbase")
    body = str(anna.token.refresh_token).encode()
    await fake.saved(UnreadableReply(body=body, before=ben.token))
    assert fake.misplaced() == []


def test_a_relay_shows_no_token(fake: FakeMesh) -> None:
    relay = Relay(1, "login-1", FAULTS["ICY"], ("fake-refresh-1|0123456789abcdef/+#",))
    assert "fake-refresh" not in repr(relay)
