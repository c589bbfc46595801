"""Prints the client's rows and the keeper's: ``python -m tests.benchmarks [--quick]``."""

import asyncio
import os
import platform
import sys
from importlib.metadata import version

from tests.benchmarks import imports, keeper, memory, refresh


def main(*, quick: bool) -> None:
    """Everything in one run: each ratio's two sides are measured in turns, so that a noisy machine hits both."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0, 0]
    packages = ", ".join(f"{name} {version(name)}" for name in ("aiohttp", "attrs", "cattrs", "orjson"))
    print(f"{platform.python_implementation()} {platform.python_version()}, {len(cores)} cores, {packages}")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {cores[0]})
    rounds, requests = (9, 600) if quick else (25, 2_000)
    with refresh.answering(cores[-1]) as base_url:
        for row in refresh.table(base_url, rounds=rounds, requests=requests):
            print(row, flush=True)
    median, spread = imports.ratio(7 if quick else 21)
    print(f"import mesh_refresh, x its dependencies: {median:.2f} (spread {spread:.2f})", flush=True)
    print(f"imported and not wanted: {', '.join(imports.unwanted()) or 'nothing'}")
    print(f"memory of a pending refresh, x hand-written aiohttp: {memory.ratio(1 if quick else 3):.2f}", flush=True)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)  # a keeper has a thread for its store
    with refresh.answering(cores[-1], keeper.DELAY) as base_url:
        asyncio.run(keeper.main(base_url, quick=quick))


if __name__ == "__main__":
    main(quick="--quick" in sys.argv[1:])
