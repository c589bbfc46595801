"""What a finished exchange leaves behind."""

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from mesh_refresh.testing import FakeMesh


@contextmanager
def collected(found: Counter[str]) -> Iterator[None]:
    """Counts what only the garbage collector frees, by class; of the client, not of the server beside it."""
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield
        gc.collect()
    finally:
        gc.set_debug(0)
        kinds = [type(value) for value in gc.garbage]
        gc.garbage.clear()
    ours = [kind for kind in kinds if kind.__module__.startswith("mesh_refresh.")]
    found.update(kind.__qualname__ for kind in ours if not kind.__module__.startswith("mesh_refresh.testing"))


async def test_a_refresh_leaves_no_cycle(fake: FakeMesh) -> None:
    """What is done with is freed at once: no two objects of a finished exchange hold each other."""
    found: Counter[str] = Counter()
    async with fake.client() as mesh:
        tokens = [fake.login("coinbase").token for _ in range(3)]
        await mesh.refresh(tokens[0])
        with collected(found):
            for spent in tokens[1:]:
                await mesh.refresh(spent)
            del spent
    assert not found
