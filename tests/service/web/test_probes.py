"""`/livez` and `/readyz`, from the start of a process to its end."""

import asyncio
import json

from attrs import define

from mesh_refresh.keeper import Keeper
from mesh_refresh.service.web.probes import Probes
from mesh_refresh.stores import MemoryStore
from mesh_refresh.testing import FakeMesh
from tests.service.web.conftest import exchange, get, make_probed, serve


@define
class Asked:
    """Asks a service."""

    port: int

    async def __call__(self) -> tuple[int, int, list[str]]:
        """The codes of both probes, and the problems that the second one names."""
        alive, ready = await exchange(self.port, get("/livez")), await exchange(self.port, get("/readyz"))
        problems = json.loads(ready.partition(b"\r\n\r\n")[2])["problems"]
        return _code(alive), _code(ready), problems


def _code(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


class HangingStore(MemoryStore):
    """Answers no ping while it hangs."""

    hangs = False

    async def ping(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()


async def test_a_process_from_its_start_to_its_end(fake: FakeMesh) -> None:
    probes = Probes("the store is being opened")
    async with serve(make_probed(probes)) as port, fake.client() as mesh:
        ask = Asked(port)
        assert await ask() == (200, 503, ["the store is being opened"])
        async with Keeper(mesh, MemoryStore()) as keeper:
            probes.keeper = keeper
            assert await ask() == (200, 200, [])
            probes.is_ending = True
            assert await ask() == (200, 503, ["the process is ending"])
        assert await ask() == (200, 503, ["the process is ending"])


async def test_probes_answer_head_and_refuse_else(port: int) -> None:
    head = await exchange(port, get("/livez", method="HEAD"))
    assert _code(head) == 200
    assert head.endswith(b"\r\n\r\n")
    assert _code(await exchange(port, get("/livez", method="POST"))) == 405


async def test_a_store_that_hangs_is_not_ready_and_no_reason_to_restart(fake: FakeMesh) -> None:
    store = HangingStore()
    store.hangs = True
    async with (
        fake.client() as mesh,
        Keeper(mesh, store, background=False) as keeper,
        serve(make_probed(Probes(keeper=keeper))) as port,
    ):
        alive, ready, problems = await Asked(port)()
    assert (alive, ready) == (200, 503)
    assert problems


async def test_a_keeper_that_was_left_without_an_end_is_dead(fake: FakeMesh) -> None:
    """Nothing works any more, and only a restart helps."""
    async with fake.client() as mesh, Keeper(mesh, MemoryStore()) as keeper:
        pass
    async with serve(make_probed(Probes(keeper=keeper))) as port:
        assert await Asked(port)() == (503, 503, ["the keeper is not running"])
