"""Programs that are interrupted twice, at any moment: ``python -m tests.sync.interruptions [--runs 300]``."""

import argparse
import asyncio
import random
import signal
import tempfile
from pathlib import Path

from mesh_refresh.testing import FakeMesh
from tests.sync.programs import Scene

PROGRAM = """
say("begins")
try:
    with keeper:
        while True:
            keeper.refresh("u")
except KeyboardInterrupt:
    pass
"""


async def interrupted(scene: Scene, first: float, second: float) -> None:
    """Press Ctrl-C twice: `first` seconds after the program has begun, and `second` seconds later. Nothing is lost."""
    program = await scene.run(PROGRAM)
    assert await program.said() == "begins"
    for moment in (first, second):
        await asyncio.sleep(moment)
        if program.process.returncode is None:
            program.process.send_signal(signal.SIGINT)
    await program.over()
    await scene.assert_whole()


async def main(runs: int, seed: int) -> None:
    """That many runs on one fleet."""
    moments = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        async with FakeMesh() as fake:
            scene = Scene(fake, Path(folder))
            await scene.add(u=fake.login("coinbase", revokes_on_reuse=True))
            for _ in range(runs):
                await interrupted(scene, moments.expovariate(5), moments.expovariate(50))
            print(f"{runs} programs interrupted, {len(fake.requests)} requests, nothing lost (seed {seed})")  # noqa: T201


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    given = parser.parse_args()
    asyncio.run(main(given.runs, given.seed))
