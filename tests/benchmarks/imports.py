"""What `import mesh_refresh` costs beside its dependencies, and what it must not bring in."""

import compileall
import statistics
import subprocess
import sys
from pathlib import Path

import mesh_refresh

_TIMED = "import time; begun = time.perf_counter(); import {0}; print(time.perf_counter() - begun)"
_LISTED = "import sys, mesh_refresh; print(*sys.modules)"
NEVER_IMPORTED = ("mesh_refresh.keeper", "mesh_refresh.stores", "mesh_refresh.cli", "mesh_refresh.testing")
NEVER_IMPORTED_EITHER = ("cryptography", "sqlite3", "click", "rich", "asyncpg")


def _run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def ratio(rounds: int) -> tuple[float, float]:
    """The median and the spread (interquartile) of the ratio, in interleaved runs of new interpreters."""
    # pip compiles what it installs; a checkout may not be, and the compiler is not what is measured.
    compileall.compile_dir(str(Path(mesh_refresh.__file__).parent), quiet=1)
    found = []
    for _ in range(rounds):
        dependencies = float(_run(_TIMED.format("aiohttp, attrs, cattrs, orjson")))
        found.append(float(_run(_TIMED.format("mesh_refresh"))) / dependencies)
    quarters = statistics.quantiles(found, n=4)
    return statistics.median(found), quarters[2] - quarters[0]


def unwanted() -> list[str]:
    """Modules that `import mesh_refresh` brings in and should not."""
    loaded = set(_run(_LISTED).split())
    return sorted(loaded & {*NEVER_IMPORTED, *NEVER_IMPORTED_EITHER})
