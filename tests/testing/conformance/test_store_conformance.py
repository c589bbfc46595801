"""Wrong stores fail the suite that we ship. (Those that we ship pass it: tests/stores.)"""

from datetime import timedelta

import pytest

from mesh_refresh.stores import Store
from mesh_refresh.testing import ManualClock, StoreConformance
from tests.testing.conformance.wrong_stores import WRONG, Wrong


def test_every_sentence_has_a_wrong_store() -> None:
    """Each test of the suite is failed by a store of the table."""
    tests = {name for name in dir(StoreConformance) if name.startswith("test_")}
    assert tests == {wrong.check for wrong in WRONG}


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.what)
async def test_a_wrong_store_is_found_out(wrong: Wrong) -> None:
    """By the test of that sentence."""
    clock = ManualClock()

    class Suite(StoreConformance):
        async def make_store(self) -> Store:
            return wrong.store(clock)

        async def pass_time(self, store: Store, by: timedelta) -> None:
            clock.advance(by)

    with pytest.raises((AssertionError, ValueError)):
        await getattr(Suite(), wrong.check)()
