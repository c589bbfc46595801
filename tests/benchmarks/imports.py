"""What `import mesh_refresh` costs beside its dependencies, and what it must not bring in."""

import compileall
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mesh_refresh
from tests.benchmarks.figures import Spread, ratios
from tests.benchmarks.report import How, Target, at_most

_TIMED = "import time; begun = time.perf_counter(); import {0}; print(time.perf_counter() - begun)"
_LISTED = "import sys, mesh_refresh; print(*sys.modules)"
_DEPENDENCIES = "aiohttp, attrs, cattrs, orjson"
_PARTS = ("keeper", "stores", "cli", "testing", "service", "telemetry")
NEVER_IMPORTED = tuple(f"mesh_refresh.{part}" for part in _PARTS)
NEVER_IMPORTED_EITHER = ("cryptography", "sqlite3", "click", "rich", "asyncpg")


def targets(how: How) -> Iterator[Target]:
    """The import's rows."""
    found = against_dependencies(5 if how.quick else 31)
    yield at_most("import mesh_refresh, x import of its dependencies, time", 1.10, found)
    brought = unwanted()
    yield Target("imported by it and not wanted", "nothing", ", ".join(brought) or "nothing", met=not brought)


def against_dependencies(rounds: int) -> Spread:
    """The ratio in interleaved runs of new interpreters."""
    # pip compiles what it installs; a checkout may not be, and the compiler is not what is measured.
    compileall.compile_dir(str(Path(mesh_refresh.__file__).parent), quiet=1)
    ours, dependencies = [], []
    for _ in range(rounds):
        dependencies.append(float(_run(_TIMED.format(_DEPENDENCIES))))
        ours.append(float(_run(_TIMED.format("mesh_refresh"))))
    return ratios(ours, dependencies)


def unwanted() -> list[str]:
    """Modules that `import mesh_refresh` brings in and should not."""
    loaded = set(_run(_LISTED).split())
    return sorted(loaded & {*NEVER_IMPORTED, *NEVER_IMPORTED_EITHER})


def _run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
