"""`mesh_refresh.sync` over PostgreSQL, whose store has connections and tasks in place of a thread."""

import os
import signal
from pathlib import Path

import pytest

from mesh_refresh.testing import FakeMesh
from tests.postgres_server import with_options
from tests.sync.programs import Scene


@pytest.fixture
def scene(fake: FakeMesh, tmp_path: Path, postgres: str) -> Scene:
    return Scene(fake, tmp_path, with_options(postgres, schema=f"fleet_{os.urandom(6).hex()}"))


@pytest.mark.once
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
async def test_forks_threads_and_ctrl_c(scene: Scene) -> None:
    """In the middle of an exchange: each login is exchanged once, no process uses a connection of another's, and what
    Ctrl-C leaves behind is answered and written.
    """
    await scene.add(u=scene.fake.login("coinbase"), v=scene.fake.login("etoro"), w=scene.fake.login("kraken"))
    gate = scene.fake.hold(after_rotation=True, broker="coinbase")
    program = await scene.run(
        """
def renewed(name, old):
    with ThreadPoolExecutor(50) as pool:
        return len(set(pool.map(lambda _: keeper.tokens(name, rejected=old).refresh_token, range(50))))

old = {name: keeper.tokens(name) for name in "uvw"}
threading.Thread(target=keeper.refresh, args=["u"], daemon=True).start()
sys.stdin.readline()
if os.fork() == 0:
    try:
        keeper.refresh("u", max_wait=timedelta(seconds=0.1))
    except NotReadyInTime:
        say("leased")
    say("child", renewed("v", old["v"]))
    sys.exit()
os.wait()
found = renewed("w", old["w"])
try:
    say("parent", found)
    keeper.tokens("u", rejected=old["u"])
except KeyboardInterrupt:
    say("interrupted")
"""
    )
    await program.reached(gate)
    await program.type_enter()
    assert [await program.said() for _ in range(3)] == ["leased", "child 1", "parent 1"]
    program.process.send_signal(signal.SIGINT)
    assert await program.said() == "interrupted"
    gate.release()
    assert await program.is_done() == ""
    assert len(scene.fake.requests) == 3
    await scene.assert_whole()
