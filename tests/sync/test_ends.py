"""Programs that are interrupted or end while a request is out: what is sent is answered and written."""

import signal
import sqlite3

import pytest

from mesh_refresh import Tokens
from tests.sync.interruptions import interrupted
from tests.sync.programs import Scene


@pytest.mark.parametrize(
    ("closes", "after_rotation"),
    [(True, True), (False, True), (False, False)],
    ids=["closed", "left open", "left open, before Mesh has rotated"],
)
async def test_ctrl_c_abandons_no_exchange(scene: Scene, closes: bool, after_rotation: bool) -> None:
    """The first one ends the caller's waiting. A second one, while the process ends, ends nothing."""
    await scene.add(u=scene.fake.login("coinbase"))
    gate = scene.fake.hold(after_rotation=after_rotation)
    program = await scene.run(
        """
from mesh_refresh.sync.calls import Call

try:
    keeper.refresh("u")
except KeyboardInterrupt:
    say("interrupted")
    if sys.argv[1] == "True":
        wait, Call.wait = Call.wait, lambda call: say("ends") or wait(call)
        try:
            keeper.close()
        finally:
            say("closed")
threading._register_atexit(say, "ends")  # Python calls it when it begins to wait for threads
""",
        str(closes),
    )
    await program.interrupted_at(gate)
    assert await program.said() == "interrupted"
    assert await program.said() == "ends"
    program.process.send_signal(signal.SIGINT)
    gate.release()
    _, out, err = await program.over()
    assert out.endswith("closed" if closes else ""), err
    await scene.assert_whole()


async def test_ctrl_c_before_python_has_marked_the_main_thread_as_ended(scene: Scene) -> None:
    """As where `concurrent.futures` waits for its workers: the end comes all the same, however often it is pressed."""
    await scene.add(u=scene.fake.login("coinbase"))
    gate = scene.fake.hold()
    program = await scene.run(
        """
def wait_for_workers():
    say("ends")
    threading.Event().wait()

def ours_waits(*to):
    before = set_handler(*to)
    say("waits")
    return before

threading.Thread(target=lambda: keeper.refresh("u"), daemon=True).start()
sys.stdin.readline()
threading._register_atexit(wait_for_workers)
set_handler, signal.signal = signal.signal, ours_waits
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
"""
    )
    await program.reached(gate)
    await program.type_enter()
    assert [await program.said() for _ in range(2)] == ["waits", "ends"]
    program.process.send_signal(signal.SIGINT)
    assert await program.said() == "waits"
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        program.process.send_signal(number)
        await program.complains_of("this process ends when what it has sent is answered and written")
    gate.release()
    await program.is_done()
    await scene.assert_whole()


async def test_ctrl_c_while_the_store_is_opened(scene: Scene) -> None:
    """Nothing was sent. What is half open is opened to its end, and closed."""
    await scene.add(u=scene.fake.login("coinbase"))
    program = await scene.run(
        """
def slow():
    say("opening")
    sys.stdin.readline()
    return opened_store()

with sync.Keeper(MeshClient.from_env, slow) as keeper:
    try:
        keeper.refresh("u")
    except KeyboardInterrupt:
        say("interrupted")
"""
    )
    assert await program.said() == "opening"
    program.process.send_signal(signal.SIGINT)
    assert await program.said() == "interrupted"
    await program.type_enter()
    assert await program.is_done() == ""
    assert not scene.fake.requests
    await scene.assert_whole()


async def test_ctrl_c_at_some_moment(scene: Scene) -> None:
    """`nox -s interruptions` takes hundreds."""
    await scene.add(u=scene.fake.login("coinbase", revokes_on_reuse=True))
    await interrupted(scene, 0.3, 0.01)


async def test_a_program_that_does_not_wait_for_its_exchange_ends_when_that_is_written(scene: Scene) -> None:
    """Without `close`, and while a thread that is no daemon still asks for tokens after the end of the main one."""
    await scene.add(u=scene.fake.login("coinbase"), v=scene.fake.login("etoro"))
    gate = scene.fake.hold(after_rotation=True)
    program = await scene.run(
        """
def last():
    threading.main_thread().join()
    say(keeper.tokens("v").broker)

threading.Thread(target=last).start()
try:
    keeper.refresh("u")
except KeyboardInterrupt:
    say("ends")
"""
    )
    await program.interrupted_at(gate)
    assert await program.said() == "ends"
    assert await program.said() == "etoro"
    gate.release()
    assert await program.is_done() == ""
    await scene.assert_whole()


async def test_new_tokens_go_into_the_spool_at_the_end_of_a_process(scene: Scene) -> None:
    """Python takes no work for its executors at that time, and 3.12 starts no thread."""
    await scene.add(u=scene.fake.login("coinbase"))
    gate = scene.fake.hold(after_rotation=True)
    program = await scene.run(
        """
try:
    keeper.refresh("u")
except KeyboardInterrupt:
    say("ends")
"""
    )
    await program.interrupted_at(gate)
    assert await program.said() == "ends"
    other = sqlite3.connect(scene.folder / "fleet.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # the store can be written no more
    gate.release()
    _, _, err = await program.over()
    other.rollback()
    other.close()
    assert "in the spool" in err
    await scene.assert_whole()


async def test_a_hook_is_served_at_the_end_of_a_process(scene: Scene) -> None:
    """An ordinary function, in a thread in which no event loop runs."""
    gate = scene.fake.hold(after_rotation=True)
    (scene.folder / "tokens.json").write_text(scene.fake.login("coinbase").token.to_json())
    program = await scene.run(
        """
import asyncio

def save(outcome):
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        open("saved.json", "w").write(outcome.all_tokens[0].to_json())

mesh = sync.MeshClient(lambda: MeshClient.from_env(on_outcome=save))
try:
    mesh.refresh(Tokens.from_json(open("tokens.json").read()))
except KeyboardInterrupt:
    say("interrupted")
"""
    )
    await program.interrupted_at(gate)
    assert await program.said() == "interrupted"
    gate.release()
    assert await program.is_done() == ""
    assert not scene.fake.lost([Tokens.from_json((scene.folder / "saved.json").read_text())])
