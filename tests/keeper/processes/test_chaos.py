"""Everything at once, for a few seconds; `nox -s chaos` does it for longer."""

from pathlib import Path

import pytest

from tests.keeper.processes import chaos

pytestmark = [
    pytest.mark.once,
    pytest.mark.filterwarnings("ignore::mesh_refresh.testing.UnusedFault"),  # faults are asked for at random times
]


@pytest.mark.parametrize("seed", [3])
async def test_chaos_costs_nothing_but_what_a_kill_itself_cuts(tmp_path: Path, seed: int) -> None:
    """Four keepers that are killed, a server that restarts, connections that end: what is asserted is in the book."""
    book = await chaos.run(tmp_path, seconds=8, seed=seed)
    assert sum(book.kinds.values()) > book.drained == chaos.KEEPERS
    assert book.done["server restarted, immediate"] == book.done["server restarted, fast"] == 1
    assert book.fake.exchanges["succeeded"]
