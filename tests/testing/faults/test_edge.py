"""The edge writes, byte by byte, what the names of its faults say."""

import asyncio
import re
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from mesh_refresh.testing import Edge, EdgeFault, FakeLogin, FakeMesh, Fault, Gate, Moment
from mesh_refresh.testing.faults.edge.message import Message
from mesh_refresh.testing.faults.edge.steps import Pause, SendStep, Write, as_bytes
from tests.testing.faults.edge_table import AFTER_THE_NEXT, ALL, Plain
from tests.testing.faults.raw import RawClient, closing

FAULTS = EdgeFault.all()
LATER = Moment.NEXT_REQUEST.value


@pytest.fixture(autouse=True)
async def closed() -> AsyncIterator[None]:
    async with closing():
        yield


@pytest.fixture
async def plain() -> Plain:
    """The first reply of a fake, and another login's: the same in every fake with the same requests."""
    async with FakeMesh(seed=1) as fake, Edge(fake) as edge:
        replies = []
        for _ in range(2):
            client = await RawClient.connect(edge)
            client.refresh(fake, fake.login("coinbase"))
            replies.append(await client.has(400))
    return Plain(*replies)


@pytest.fixture
async def fake() -> AsyncIterator[FakeMesh]:
    async with FakeMesh(seed=1) as fake:
        yield fake


async def exchanged(edge: Edge, client: RawClient, login: FakeLogin | None = None) -> bytes:
    """Let a login, a new one mostly, refresh, and give all that came on the connection up to now."""
    count = edge.requests + 1
    client.refresh(edge.fake, login or edge.fake.login("coinbase"))
    await edge.received(count)
    await edge.idle()
    client.relays.append(edge.relays[-1])
    return await client.has(sum(relay.size for relay in client.relays))


def test_every_fault_is_told_in_the_table() -> None:
    later = {name.removesuffix(f", {LATER}") for name in FAULTS if name.endswith(LATER)}
    assert {name for name in FAULTS if not name.endswith(LATER)} == set(ALL)
    assert later == set(AFTER_THE_NEXT)
    assert all(fault.name == name for name, fault in FAULTS.items())


async def test_without_a_fault_nothing_is_changed(fake: FakeMesh, plain: Plain) -> None:
    async with Edge(fake) as edge:
        client = await RawClient.connect(edge)
        assert await exchanged(edge, client) == plain.raw
        assert plain.raw.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: application/json")
        assert (await exchanged(edge, client)).count(b"HTTP/1.1 200 OK") == 2
        assert (edge.connections, edge.requests, len(edge.relays)) == (1, 2, 2)


@pytest.mark.parametrize("name", ALL)
async def test_each_fault_writes_what_its_name_says(fake: FakeMesh, plain: Plain, name: str) -> None:
    async with Edge(fake, FAULTS[name]) as edge:
        client = await RawClient.connect(edge)
        got = await exchanged(edge, client)
        expected = ALL[name](plain)
        if "another" in name:
            # The stranger's tokens are of another login, and so not those of the table.
            own = len(plain.raw)
            assert got[:own] == plain.raw
            assert re.fullmatch(rb"HTTP/1.1 200 OK\r\n.*fake-refresh-5\|.*", got[own:], re.DOTALL)
        else:
            assert got == expected


@pytest.mark.parametrize("name", AFTER_THE_NEXT)
async def test_what_comes_after_the_next_request_comes_before_its_reply(
    fake: FakeMesh, plain: Plain, name: str
) -> None:
    async with Edge(fake) as edge:
        edge.fail(FAULTS[f"{name}, {LATER}"])
        client = await RawClient.connect(edge)
        first = await exchanged(edge, client)
        assert len(first) < len(ALL["the reply 2 times, at once"](plain))
        both = await exchanged(edge, client)
        after = both[both.rindex(b"HTTP/1.1 200 OK") :]
        assert b"fake-refresh-" in after
        foreign = both[len(plain.raw) : -len(after)]
        assert both == AFTER_THE_NEXT[name](Plain(plain.raw, foreign), after)
        assert first == both[: len(first)]


async def test_the_foreign_reply_is_the_latest_of_another_login(fake: FakeMesh) -> None:
    async with Edge(fake) as edge:
        client = await RawClient.connect(edge)
        one = await exchanged(edge, client)
        edge.fail(EdgeFault.repeat(foreign=True))
        all_of_it = await exchanged(edge, client)
        assert all_of_it.count(one) == 2
        assert all_of_it.endswith(one)
        assert len(fake.logins) == 2


# Segments.


@pytest.mark.parametrize(
    ("fault", "lengths"),
    [
        (EdgeFault.split_at(1), [1, -1]),
        (EdgeFault.split_at(-40), [-40, 40]),
        (EdgeFault.split_at(100, 30), [30, 70, -100]),
        (EdgeFault.split_at(5) | EdgeFault.split_at(9), [5, 4, -9]),
        (EdgeFault.split_at(0, 10**6), [0]),
    ],
)
async def test_a_split_makes_segments(fake: FakeMesh, plain: Plain, fault: EdgeFault, lengths: list[int]) -> None:
    async with Edge(fake, fault) as edge:
        client = await RawClient.connect(edge)
        assert await exchanged(edge, client) == plain.raw
        whole = sum(map(len, client.segments))
        assert list(map(len, client.segments)) == [it if it > 0 else whole + it for it in lengths]


async def test_every_byte_can_be_a_segment(fake: FakeMesh, plain: Plain) -> None:
    async with Edge(fake, FAULTS["segments of 1"]) as edge:
        client = await RawClient.connect(edge)
        assert await exchanged(edge, client) == plain.raw
        assert list(map(len, client.segments)) == [1] * len(plain.raw)


async def test_every_border_can_be_between_segments(fake: FakeMesh, plain: Plain) -> None:
    async with Edge(fake, FAULTS["split at borders"]) as edge:
        client = await RawClient.connect(edge)
        assert await exchanged(edge, client) == plain.raw
        borders = rb"[\r\n:{}\[\]]"
        assert not [it for it in client.segments if len(it) > 1 and re.search(borders, it)]
        assert all(re.search(borders, b"".join(pair)) for pair in pairwise(client.segments))


@pytest.mark.parametrize(
    ("name", "count"),
    [("the reply 2 times, at once", 1), ("the reply 2 times, in the next segment", 2), ("interim 100, 100, 103", 2)],
)
async def test_what_is_said_to_be_one_segment_is_one(fake: FakeMesh, name: str, count: int) -> None:
    async with Edge(fake, FAULTS[name]) as edge:
        client = await RawClient.connect(edge)
        await exchanged(edge, client)
        assert len(client.segments) == count


async def test_a_moment_may_be_a_gate(fake: FakeMesh, plain: Plain) -> None:
    gate = Gate()
    async with Edge(fake, EdgeFault.stray(b"later", "later", when=gate)) as edge:
        client = await RawClient.connect(edge)
        client.refresh(fake, fake.login("coinbase"))
        await gate.entered.wait()
        assert await client.has(len(plain.raw)) == plain.raw
        gate.release()
        await edge.idle()
        assert (await client.has(edge.relays[0].size)).endswith(b"}later")


# Ends.


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in FAULTS
        if name.startswith("cut at") or name.endswith(", closed") or name == "closed after the reply"
    ],
)
async def test_fin_ends_the_connection(fake: FakeMesh, name: str) -> None:
    async with Edge(fake, FAULTS[name]) as edge:
        client = await RawClient.connect(edge)
        await exchanged(edge, client)
        await client.half_closed.wait()
        client.close()
        assert await client.over is None


@pytest.mark.parametrize("name", [name for name in FAULTS if name.startswith("reset")])
async def test_rst_ends_the_connection(fake: FakeMesh, name: str) -> None:
    async with Edge(fake, FAULTS[name]) as edge:
        client = await RawClient.connect(edge)
        await exchanged(edge, client)
        assert isinstance(await client.over, ConnectionResetError)


async def test_a_half_closed_connection_takes_no_further_request(fake: FakeMesh) -> None:
    async with Edge(fake, FAULTS["half-closed after the reply"]) as edge:
        client = await RawClient.connect(edge)
        await exchanged(edge, client)
        await client.half_closed.wait()
        client.refresh(fake, fake.login("coinbase"))
        while not client.over.done():
            client.transport.write(b"\r\n")  # asyncio reads no more behind a FIN, so that only a write meets the RST
            await asyncio.sleep(0)
        assert isinstance(await client.over, ConnectionError)
        assert len(fake.requests) == 1


KEPT = [name for name in ALL if not re.search(r"closed|^cut|^reset", name)]


@pytest.mark.parametrize("name", KEPT)
async def test_all_others_leave_it_open(fake: FakeMesh, name: str) -> None:
    """The same connection carries the next exchange."""
    async with Edge(fake) as edge:
        edge.fail(FAULTS[name])
        client = await RawClient.connect(edge)
        before = await exchanged(edge, client)
        assert (await exchanged(edge, client)).startswith(before + b"HTTP/1.1 200 OK")
        assert (edge.connections, len(edge.relays)) == (1, 2)


async def test_a_client_that_asks_for_an_end_gets_one_unless_a_fault_forbids_it(fake: FakeMesh) -> None:
    async with Edge(fake) as edge:
        edge.fail(EdgeFault.end("kept"))
        client = await RawClient.connect(edge)
        for count in (1, 2):
            client.refresh(fake, fake.login("coinbase"), "Connection: close")
            await edge.received(count)
            await edge.idle()
        await client.has(sum(relay.size for relay in edge.relays))
        await client.half_closed.wait()
        assert (edge.connections, edge.requests) == (1, 2)


# Which refresh a fault meets.


async def starts(edge: Edge, count: int, login: FakeLogin | None = None) -> list[bytes]:
    """The first line of the reply to each of so many refreshes."""
    found = []
    for _ in range(count):
        client = await RawClient.connect(edge)
        found.append((await exchanged(edge, client, login)).partition(b"\r\n")[0].partition(b" ")[0])
    return found


async def test_several_faults_take_turns(fake: FakeMesh) -> None:
    async with Edge(fake, FAULTS["ICY"], FAULTS["version HTTP/2"]) as edge:
        assert await starts(edge, 5) == [b"ICY", b"HTTP/2", b"ICY", b"HTTP/2", b"ICY"]
        edge.heal()
        assert await starts(edge, 1) == [b"HTTP/1.1"]


async def test_a_number_of_times_ends(fake: FakeMesh) -> None:
    async with Edge(fake, FAULTS["ICY"], FAULTS["version HTTP/2"], times=2) as edge:
        assert await starts(edge, 5) == [b"ICY", b"ICY", b"HTTP/2", b"HTTP/2", b"HTTP/1.1"]


async def test_a_fault_may_be_meant_for_one_login(fake: FakeMesh) -> None:
    async with Edge(fake, FAULTS["version HTTP/2"]) as edge:
        chosen = fake.login("coinbase")
        edge.fail(FAULTS["ICY"], login=chosen.id)
        edge.fail(FAULTS["lower-case version"], broker="robinhood")
        assert await starts(edge, 2) == [b"HTTP/2", b"HTTP/2"]
        assert await starts(edge, 1, chosen) == [b"ICY"]
        assert await starts(edge, 1, fake.login("robinhood")) == [b"http/1.1"]
        assert [relay.login for relay in edge.relays] == ["login-2", "login-3", "login-1", "login-4"]


async def test_faults_combine_in_any_order(fake: FakeMesh) -> None:
    """A split is of the damaged reply, whichever was named first."""
    one, two = FAULTS["coding gzip over gzip"], EdgeFault.split_at(-3)
    async with Edge(fake, one | two, two | one) as edge:
        for _ in range(2):
            client = await RawClient.connect(edge)
            assert b"Content-Encoding: gzip\r\n" in await exchanged(edge, client)
            assert len(client.segments[1]) == 3
    assert [relay.fault.name for relay in edge.relays if relay.fault] == [
        "coding gzip over gzip + split at -3",
        "split at -3 + coding gzip over gzip",
    ]


async def test_a_split_counts_the_bytes_of_every_reply(fake: FakeMesh, plain: Plain) -> None:
    async with Edge(fake, EdgeFault.split_at(-3) | EdgeFault.repeat()) as edge:
        client = await RawClient.connect(edge)
        assert await exchanged(edge, client) == plain.raw * 2
        assert list(map(len, client.segments)) == [2 * len(plain.raw) - 3, 3]


def test_what_goes_out_in_one_segment_is_written_at_once() -> None:
    """Else the system may make two of it."""
    script = (Write(b"a"), SendStep(Message(b"HTTP/1.1 200 OK")), Pause(), Write(b"c"))
    assert as_bytes(script) == (Write(b"aHTTP/1.1 200 OK\r\n\r\n"), Pause(), Write(b"c"))


def test_a_name_finds_its_fault() -> None:
    assert EdgeFault.named("ICY") == FAULTS["ICY"]
    assert EdgeFault.named("ICY + cut at -1 + interim 100").name == "ICY + cut at -1 + interim 100"
    with pytest.raises(ValueError, match=r"no edge fault 'folded heder'\. Close to it: folded header"):
        EdgeFault.named("ICY + folded heder")


# What is no refresh, and what is no reply.


async def test_all_that_is_no_refresh_passes_undamaged(fake: FakeMesh) -> None:
    async with Edge(fake, FAULTS["cut at 0"]) as edge:
        client = await RawClient.connect(edge)
        client.transport.write(
            b"POST /elsewhere HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
        )
        await edge.received(1)
        await edge.idle()
        assert (await client.has(100)).startswith(b"HTTP/1.1 404 Not Found\r\n")
        client.transport.write(b"GET /elsewhere HTTP/1.1\r\nHost: a\r\n\r\n")
        await edge.received(2)
        assert (await client.has(300)).count(b"HTTP/1.1 404 Not Found\r\n") == 2
        assert edge.relays == []


async def test_a_fake_that_is_stopped_is_a_reset(fake: FakeMesh) -> None:
    async with Edge(fake) as edge:
        await fake.stop()
        client = await RawClient.connect(edge)
        client.refresh(fake, fake.login("coinbase"))
        assert isinstance(await client.over, ConnectionResetError)


@pytest.mark.parametrize("name", [name for name in Fault.all() if not re.match("delay|oversize", name)])
async def test_the_faults_of_the_fake_pass_as_they_are(name: str) -> None:
    """The same bytes with an edge as without."""
    got = []
    for through in (True, False):
        async with FakeMesh(seed=1) as fake, Edge(fake) as edge:
            if not through:
                edge.port = fake.server.port
            fake.fail(Fault.all()[name])
            client = await RawClient.connect(edge)
            client.refresh(fake, fake.login("coinbase"), "Connection: close")
            await client.half_closed.wait()
            got.append((client.got, len(fake.undelivered)))
    assert got[0] == got[1]


# Nothing is left behind.


async def test_nothing_is_left_behind(fake: FakeMesh) -> None:
    """A stopped edge has ended its connections and its tasks, whatever they waited for; it can be started again."""
    gate = fake.hold()
    edge = Edge(fake, FAULTS[f"early 200, {LATER}"])
    edge.fail(EdgeFault.none(), EdgeFault.stray(b"x", "x", when=Gate()))
    await edge.start()
    clients = [await RawClient.connect(edge) for _ in range(4)]
    for count, client in enumerate(clients[:3], 1):
        client.refresh(fake, fake.login("coinbase"))
        await edge.received(count)
    await edge.stop()
    await edge.stop()
    for client in clients:
        await client.half_closed.wait()
    gate.release()
    await fake.idle()
    running = [str(task.get_coro()) for task in asyncio.all_tasks()]
    assert not [name for name in running if "Edge" in name or "Connection." in name]
    port = edge.port
    async with edge:
        assert edge.port == port
        client = await RawClient.connect(edge)
        client.close()
        await client.over


async def test_a_client_that_does_not_read_stops_no_edge(fake: FakeMesh) -> None:
    """The system takes some of the bytes; the rest is dropped."""
    edge = Edge(fake, EdgeFault.stray(bytes(50_000_000), "much", when=Moment.AT_ONCE) | EdgeFault.end("closed"))
    await edge.start()
    client = await RawClient.connect(edge)
    client.refresh(fake, fake.login("coinbase"))
    await client.has(1)
    client.transport.pause_reading()
    await edge.stop()
    assert edge.relays[0].done
