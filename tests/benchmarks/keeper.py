"""The keeper's rows: durable refreshes on SQLite, a million logins, `tokens()`, and how long the loop is blocked.

The server is a process of its own on another core, and answers in 5 ms. What is compared runs in turns.
"""

import asyncio
import gc
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from attrs import evolve, frozen

from mesh_refresh import MeshClient, Tokens
from mesh_refresh.keeper import Keeper, Policy
from mesh_refresh.keeper.adding import Adding, made
from mesh_refresh.stores import Cipher, Row, Store, row_of
from mesh_refresh.stores.sqlite import SqliteStore

IN_FLIGHT = 64
DELAY = timedelta(milliseconds=5)
_POLICY = Policy(concurrency=IN_FLIGHT)
_AT_A_TIME = 2_000


@frozen
class Burst:
    """What one burst gave."""

    per_second: float
    worst_ms: float
    """The event loop was blocked for so long at the 99.9th percentile."""


def _tokens(login: int, now: datetime, *, due: bool) -> Tokens:
    begun = now - timedelta(hours=1) if due else now
    return Tokens(
        "coinbase",
        f"benchmark-old-{login}-{now.timestamp()}",
        access_token=f"benchmark-access-{login}-" + "a" * 300,
        obtained_at=begun,
        expires_at=begun + (timedelta(hours=1) if due else timedelta(days=30)),
    )


def _rows(store: Store, logins: Iterable[int], *, due: bool) -> list[Row]:
    now = datetime.now(UTC)
    rows = []
    for number in logins:
        how = Adding(now, _POLICY, [f"{number:032x}"])
        login, _ = made(f"login-{number:08}", f"{number:032x}", [_tokens(number, now, due=due)], how)
        rows.append(row_of(store.cipher, login, now))
    return rows


async def _fill(store: Store, first: int, many: int, *, due: bool) -> None:
    for begin in range(first, first + many, _AT_A_TIME):
        rows = _rows(store, range(begin, min(begin + _AT_A_TIME, first + many)), due=due)
        await asyncio.gather(*(store.insert(row) for row in rows))


async def _make_due(store: Store, first: int, many: int) -> None:
    """Put `many` logins back to due, as an hour's passing would."""
    for begin in range(first, first + many, _AT_A_TIME):
        for row in _rows(store, range(begin, min(begin + _AT_A_TIME, first + many)), due=True):
            stored = await store.read(row.login_id)
            assert stored is not None
            await store.swap(evolve(row, epoch=stored.epoch, revision=stored.revision))


@asynccontextmanager
async def _fleet(path: Path, key: str, size: int) -> AsyncIterator[SqliteStore]:
    new = not path.exists()  # noqa: ASYNC240 - nothing else runs yet
    async with SqliteStore.open(path, cipher=Cipher([key])) as store:
        if new:
            await _fill(store, 0, size, due=False)
        yield store


async def bare(base_url: str, many: int) -> float:
    """Refreshes a second of `MeshClient` alone."""
    async with MeshClient("benchmark-id", "benchmark-secret", base_url=base_url) as mesh:
        now = datetime.now(UTC)
        left = iter([_tokens(number, now, due=True) for number in range(many)])

        async def worker() -> None:
            for tokens in left:
                await mesh.refresh(tokens)

        gc.collect()
        begun = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
        return many / (time.perf_counter() - begun)


async def durable(base_url: str, store: Store, many: int) -> Burst:
    """Refreshes a second of a keeper: every pair is on the disk before the next exchange of its login."""
    await _make_due(store, 0, many)
    blocked: list[float] = []
    async with (
        MeshClient("benchmark-id", "benchmark-secret", base_url=base_url) as mesh,
        Keeper(mesh, store, policy=_POLICY, background=False) as keeper,
    ):
        watch = asyncio.create_task(_watch(blocked))
        gc.collect()
        gc.freeze()  # as `mesh-refresh run` does
        begun = time.perf_counter()
        done = await keeper.refresh_due()
        taken = time.perf_counter() - begun
        watch.cancel()
        gc.unfreeze()
        assert done == many, (done, many)
    return Burst(many / taken, 1000 * sorted(blocked)[int(len(blocked) * 0.999)])


async def _watch(blocked: list[float]) -> None:
    """How late the loop comes back to somebody who asked for the next millisecond."""
    while True:
        begun = time.perf_counter()
        await asyncio.sleep(0.001)
        blocked.append(time.perf_counter() - begun - 0.001)


async def answers(store: Store, base_url: str, many: int) -> float:
    """`tokens()` a second, one after the other, on fresh logins."""
    async with (
        MeshClient("benchmark-id", "benchmark-secret", base_url=base_url) as mesh,
        Keeper(mesh, store, policy=_POLICY, background=False) as keeper,
    ):
        begun = time.perf_counter()
        for number in range(many):
            await keeper.tokens(f"login-{number % 1000:08}")
        return many / (time.perf_counter() - begun)


def _memory() -> float:
    """The most that this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def _sizes(base_url: str, folder: Path, *, big: int, many: int, rounds: int) -> AsyncIterator[str]:
    key = Cipher.generate_key()
    async with _fleet(folder / "small.db", key, 1_000 + many) as small:
        ratios, blocked = [], []
        for _ in range(rounds):
            alone = await bare(base_url, many)
            kept = await durable(base_url, small, many)
            ratios.append(kept.per_second / alone)
            blocked.append(kept.worst_ms)
        yield _line("keeper on SQLite, durable, x bare MeshClient (>= 0.6)", ratios)
        speeds = [await answers(small, base_url, many) for _ in range(rounds)]
        yield _line("keeper.tokens() a second, fresh login (>= 5000)", speeds, digits=0)
        before = _memory()
        async with _fleet(folder / "big.db", key, big) as large:
            filled = _memory()
            ratios = []
            blocked = []
            for _ in range(rounds):
                little = await durable(base_url, small, many)
                lot = await durable(base_url, large, many)
                ratios.append(lot.per_second / little.per_second)
                blocked.append(lot.worst_ms)
            yield _line(f"keeper with {big:,} logins, x 1,000 logins (>= 0.9)", ratios)
            more = "  more memory, filling and refreshing them (<= 50 MB)"
            yield f"{more:<60}{_memory() - before:>8.0f} MB ({filled - before:.0f} of it while filling)"
            yield _line("  event loop blocked, 99.9th percentile (<= 20 ms)", blocked, unit=" ms")


def _line(name: str, values: list[float], *, digits: int = 2, unit: str = "") -> str:
    values = sorted(values)
    return f"{name:<60}{statistics.median(values):>8.{digits}f}{unit} ({values[0]:.{digits}f}-{values[-1]:.{digits}f})"


async def table(base_url: str, *, quick: bool) -> AsyncIterator[str]:
    """The rows that are printed."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        big, many, rounds = (100_000, 1_500, 3) if quick else (1_000_000, 4_000, 7)
        async for line in _sizes(base_url, Path(folder), big=big, many=many, rounds=rounds):
            yield line


async def main(base_url: str, *, quick: bool) -> None:
    """Print them."""
    async for line in table(base_url, quick=quick):
        print(line, flush=True)


if __name__ == "__main__":
    from tests.benchmarks.refresh import answering

    with answering(1, DELAY) as url:
        asyncio.run(main(url, quick="--quick" in sys.argv[1:]))
