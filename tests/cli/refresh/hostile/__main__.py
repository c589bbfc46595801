"""All of it: ``python -m tests.cli.refresh.hostile``, some twenty minutes. ``--every 20`` for a first look."""

import argparse
import asyncio
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from mesh_refresh.testing import FakeMesh
from tests.cli.conftest import Served
from tests.cli.refresh.hostile.shell import ROOT, Ended, Shell, Trouble
from tests.cli.refresh.hostile.stories import OUTPUTS, Story, together, troubles

INJECTIONS = [
    f"{call}:{what}:when={at}"
    for call, most in (("rename", 2), ("fsync", 6), ("fallocate", 1), ("unlink", 2), ("flock", 3), ("ftruncate", 1))
    for what in ("error=ENOSPC", "error=EIO", "error=EINTR", "signal=SIGKILL", "signal=SIGTERM")
    for at in range(1, most + 1)
]
"""Of strace: a call of the system's own, whichever library makes it."""


@contextmanager
def serving() -> Iterator[Served]:
    """A FakeMesh in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    served = Served(FakeMesh(), loop)
    served.wait(served.fake.start())
    try:
        yield served
    finally:
        served.wait(served.fake.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)


def traced(story: Story, injection: str) -> None:
    """A process of its own under strace. What must hold then is the same."""
    call = injection.partition(":")[0]
    command = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={call}", "-e", f"inject={injection}"]
    before = len(story.served.fake.requests)
    ran = subprocess.run(
        [*command, sys.executable, "-m", "mesh_refresh", *story.arguments],
        capture_output=True, check=False, cwd=story.folder, stdin=subprocess.DEVNULL,
        env={**os.environ, **story.shell.environment, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    )  # fmt: skip
    ended = Ended(ran.returncode, ran.stdout, ran.stderr.decode(errors="replace"))
    what = "SIGKILL" if "SIGKILL" in injection else injection
    story.check(ended, sent=len(story.served.fake.requests) - before, trouble=Trouble(None, what))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="take every n-th trouble")
    every = parser.parse_args().every
    folder = Path(tempfile.mkdtemp(prefix="mesh-refresh-hostile-"))
    numbers, failed = itertools.count(), 0
    has_strace = shutil.which("strace") is not None
    with Shell() as shell:
        for output in OUTPUTS:
            with serving() as served:
                shell.environment = served.environment

                def story(output: str = output, served: Served = served) -> Story:
                    return Story(served, shell, folder / str(next(numbers)), output)

                attempts: list[tuple[str, Callable[[Story], object]]] = [
                    (str(it), partial(Story.tell, trouble=it)) for it in list(troubles(story().steps()))[::every]
                ]
                attempts += [(f"{runs} at once", partial(together, runs=runs)) for runs in (2, 3)]
                if has_strace:
                    attempts += [(it, partial(traced, injection=it)) for it in INJECTIONS[::every]]
                wrong = 0
                for name, attempt in attempts:
                    try:
                        attempt(story())
                    except AssertionError as error:
                        wrong += 1
                        sys.stderr.write(f"{output}, {name}: {error}\n")
                failed += wrong
                sys.stdout.write(f"{output}: {len(attempts)} runs with trouble, {wrong} wrong\n")
                sys.stdout.flush()
    if not has_strace:
        sys.stdout.write("strace is not here: its injections DID NOT RUN\n")
    shutil.rmtree(folder)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
