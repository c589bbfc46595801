"""What the numbers were measured on."""

import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks.cores import cores

_OURS = ("aiohttp", "attrs", "cattrs", "orjson", "cryptography", "asyncpg", "uvloop")
_RIVALS = (
    "openapi-python-client", "openapi-generator-cli", "authlib", "httpx", "httpx2", "aiohttp-retry", "pydantic",
    "pyreqwest", "aiosonic", "niquests",
)  # fmt: skip


def lines() -> Iterator[str]:
    """The date, the machine, the versions."""
    now = datetime.now(UTC)
    python = f"{platform.python_implementation()} {platform.python_version()}"
    yield f"{now:%Y-%m-%d %H:%M} UTC, {_processor()}, {len(cores())} cores, {_memory()}"
    yield f"{platform.system()} {platform.release()}, {python}, {', '.join(map(_versioned, _OURS))}"
    yield f"measured against: {', '.join(map(_versioned, _RIVALS))}"


def _versioned(package: str) -> str:
    return f"{package} {version(package)}"


def _processor() -> str:
    return _value("/proc/cpuinfo", "model name") or platform.processor() or platform.machine()


def _memory() -> str:
    total = _value("/proc/meminfo", "MemTotal")
    return f"{int(total.split()[0]) / 2**20:.0f} GB of memory" if total else "memory unknown"


def _value(path: str, name: str) -> str | None:
    if not Path(path).exists():
        return None
    fields = (line.partition(":") for line in Path(path).read_text().splitlines())
    return next((value.strip() for key, _, value in fields if key.strip() == name), None)
