"""Processes that fork, in the middle of an exchange too, and children of `multiprocessing`."""

import os

import pytest

from tests.sync.programs import Scene

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


async def test_a_fork_in_the_middle_of_an_exchange(scene: Scene) -> None:
    """The parent's goes on, and is written; the child exchanges by itself, and never the login whose lease is taken."""
    await scene.add(u=scene.fake.login("coinbase"), v=scene.fake.login("etoro"))
    gate = scene.fake.hold(after_rotation=True, broker="coinbase")
    program = await scene.run(
        """
before = keeper.tokens("u")
caller = threading.Thread(target=keeper.refresh, args=["u"])
caller.start()
sys.stdin.readline()
if os.fork() == 0:
    try:
        keeper.refresh("u", max_wait=timedelta(seconds=0.1))
    except NotReadyInTime:
        say("leased")
    keeper.refresh("v")
    say("refreshed")
    sys.exit()
os.wait()
say("forked")
caller.join()
assert keeper.tokens("u") != before
keeper.refresh("v")
"""
    )
    await program.reached(gate)
    await program.type_enter()
    assert [await program.said() for _ in range(3)] == ["leased", "refreshed", "forked"]
    gate.release()
    assert await program.is_done() == ""
    assert len(scene.fake.requests) == 3
    await scene.assert_whole()


async def test_children_of_multiprocessing(scene: Scene) -> None:
    """By each way to start them. They end without `atexit`, and drain all the same."""
    names = ("fork", "spawn", "forkserver")
    await scene.add(**{name: scene.fake.login("coinbase") for name in (*names, "parent")})
    program = await scene.run(
        """
def work(name, event):
    threading.Thread(target=keeper.refresh, args=[name], daemon=True).start()
    event.wait()  # its request is out

if __name__ == "__main__":
    keeper.tokens("parent")
    for name in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(name)
        event = context.Event()
        child = context.Process(target=work, args=[name, event])
        child.start()
        sys.stdin.readline()
        event.set()
        say(name)
        child.join()
        assert child.exitcode == 0
"""
    )
    for name in names:
        gate = scene.fake.hold(after_rotation=True)
        await program.reached(gate)
        await program.type_enter()
        assert await program.said() == name
        gate.release()
    assert await program.is_done() == ""
    assert len(scene.fake.requests) == 3
    await scene.assert_whole()


async def test_a_pool_of_threads_shares_one_exchange(scene: Scene) -> None:
    """Fifty ask for one login; whatever the number of threads, one loop and one exchange serve them."""
    login = scene.fake.login("coinbase")
    payload = login.link_payload()
    del payload["accountTokens"][0]["accessToken"]
    await scene.add()
    program = await scene.run(
        f"""
keeper.add("u", Tokens.from_link({payload!r}))
with ThreadPoolExecutor(50) as pool:
    found = set(pool.map(lambda _: keeper.tokens("u").refresh_token, range(500)))
say(len(found), sum(thread.name == "mesh_refresh loop" for thread in threading.enumerate()))
keeper.close()
"""
    )
    assert await program.is_done() == "1 1"
    assert len(scene.fake.requests) == 1
    await scene.assert_whole()
