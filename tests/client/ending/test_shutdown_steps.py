"""The whole program ends at every single step of the event loop, as asyncio.run ends it: every task is cancelled."""

import asyncio
import gc
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from mesh_refresh import AiohttpTransport, MeshClient, Refreshed, RetryPolicy
from tests.client.ending.stepping import FarMesh, Hangs, SteppingLoop, far_mesh, looping, watchdog
from tests.transport.transports import BySession, PlainTransport, Wrapping

# A program that ends without closing its client leaves its connections to the garbage collector, which says so.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")

PATIENT = RetryPolicy(deadline=timedelta(hours=1))


@pytest.fixture(scope="module")
def far() -> Iterator[FarMesh]:
    with far_mesh() as far:
        yield far


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    gc.collect()


async def secret_of_a_vault() -> str:
    await asyncio.sleep(0)
    return "fake-client-secret"


def plain(far: FarMesh, **options: Any) -> MeshClient:
    async def save(outcome: Any) -> None:
        await asyncio.sleep(0)
        far.fake.hold_tokens(outcome.all_tokens)

    values = {"client_secret": far.fake.client_secret, "base_url": far.fake.base_url, "retry": PATIENT, **options}
    return MeshClient(far.fake.client_id, on_outcome=save, **values)


def with_name(far: FarMesh) -> MeshClient:
    return plain(far, base_url=far.fake.base_url.replace("127.0.0.1", "localhost"))


def with_secret(far: FarMesh) -> MeshClient:
    return plain(far, client_secret=secret_of_a_vault)


def by_session(far: FarMesh) -> MeshClient:
    # aiohttp writes the body in a task of its own. Where a shutdown cancels that, nothing is sent and no error comes:
    # the request waits for the deadline, and ends as unknown. This is the difference to the direct way.
    return plain(far, transport=BySession(), retry=RetryPolicy(max_requests=1, deadline=timedelta(seconds=2)))


def with_transport(far: FarMesh) -> MeshClient:
    return plain(far, transport=PlainTransport())


def wrapped(far: FarMesh) -> MeshClient:
    return plain(far, transport=Wrapping(AiohttpTransport()))


CLIENTS = {
    "plain": plain,
    "a name": with_name,
    "a secret": with_secret,
    "by session": by_session,
    "a transport": with_transport,
    "a wrapped one": wrapped,
}


def programs_at_every_step(far: FarMesh, program: Callable[[int], bool], *, at_least: int = 8) -> None:
    """Run `program` for k = 0, 1, 2, ... until there is no step k; nothing is lost, and nothing sent twice."""
    for k in range(5000):
        sent = len(far.fake.requests)
        try:
            with watchdog():
                reached = program(k)
        except (Hangs, AssertionError) as error:
            raise AssertionError(f"step {k}: {str(error) or 'it hangs'}") from error
        far.idle()
        assert far.fake.lost() == [], f"step {k}"
        assert len(far.fake.requests) <= sent + 1, f"step {k}"
        if not reached:
            assert k >= at_least, f"only {k} steps: the harness does not count"
            return
    raise AssertionError("the exchange never ends")


@pytest.mark.parametrize("name", CLIENTS)
def test_main_returns(far: FarMesh, name: str) -> None:
    """A main() that returns at any step, leaving the refresh running, loses nothing, and the program ends."""

    def program(k: int) -> bool:
        login = far.run(lambda: far.fake.login("coinbase"))

        async def main() -> bool:
            mesh, end = CLIENTS[name](far), asyncio.Event()
            refreshing = asyncio.create_task(mesh.refresh(login.token))
            refreshing.add_done_callback(lambda _: end.set())
            looping().arm(k, end.set)
            await end.wait()
            beyond = looping().disarm()
            if refreshing.done():
                await mesh.aclose()
            return not beyond

        with asyncio.Runner(loop_factory=SteppingLoop) as runner:
            return runner.run(main())

    programs_at_every_step(far, program)


@pytest.mark.parametrize("name", CLIENTS)
def test_ctrl_c(far: FarMesh, name: str) -> None:
    """A main() that is cancelled at any step, as by Ctrl-C, and closes its client, loses nothing, and ends."""

    def program(k: int) -> bool:
        login = far.run(lambda: far.fake.login("coinbase"))
        beyond = True

        async def main() -> None:
            nonlocal beyond
            async with CLIENTS[name](far) as mesh:
                looping().arm(k, asyncio.current_task().cancel)  # type: ignore[union-attr]
                try:
                    await mesh.refresh(login.token)
                finally:
                    beyond = looping().disarm()

        with asyncio.Runner(loop_factory=SteppingLoop) as runner:
            try:
                runner.run(main())
            except asyncio.CancelledError:
                assert not beyond
        return not beyond

    programs_at_every_step(far, program)


@pytest.mark.parametrize("name", CLIENTS)
def test_interrupted_loop(far: FarMesh, name: str) -> None:
    """A loop that is thrown out of its run at any step, as by a second Ctrl-C, loses nothing, and ends."""

    def program(k: int) -> bool:
        login = far.run(lambda: far.fake.login("coinbase"))

        def interrupt() -> None:
            raise KeyboardInterrupt

        async def main() -> bool:
            mesh = CLIENTS[name](far)
            looping().arm(k, interrupt)
            await mesh.refresh(login.token)
            looping().disarm()
            await mesh.aclose()
            return False

        with asyncio.Runner(loop_factory=SteppingLoop) as runner:
            try:
                return runner.run(main())
            except KeyboardInterrupt:
                return True

    programs_at_every_step(far, program)


def everybody() -> None:
    for task in asyncio.all_tasks(looping()):
        if task.get_name() != "the test":
            task.cancel()


def others() -> None:
    for task in asyncio.all_tasks(looping()):
        if task.get_name() not in ("the test", "the caller"):
            task.cancel()


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize("cancel", [everybody, others])
def test_all_tasks_cancelled(far: FarMesh, name: str, cancel: Callable[[], None]) -> None:
    """Tasks that are cancelled at any step while the loop goes on cost nothing, and the client is good after it."""

    def program(k: int) -> bool:
        login, second = far.run(lambda: [far.fake.login("coinbase") for _ in range(2)])

        async def main() -> bool:
            asyncio.current_task().set_name("the test")  # type: ignore[union-attr]
            async with CLIENTS[name](far) as mesh:
                caller = asyncio.create_task(mesh.refresh(login.token), name="the caller")
                looping().arm(k, cancel)
                await asyncio.wait((caller,))
                beyond = looping().disarm()
                if cancel is others and (name != "by session" or caller.exception() is None):
                    assert isinstance(caller.result(), Refreshed)
                sent = len(far.fake.requests)
                assert isinstance(await mesh.refresh(second.token), Refreshed)
                assert len(far.fake.requests) <= sent + 2
            del far.fake.requests[sent:]
            return not beyond

        with asyncio.Runner(loop_factory=SteppingLoop) as runner:
            return runner.run(main())

    programs_at_every_step(far, program)
