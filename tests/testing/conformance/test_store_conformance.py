"""Wrong stores fail the suite that we ship. (Those that we ship pass it: tests/stores.)"""

from datetime import timedelta

import pytest

from mesh_refresh.stores import Store
from mesh_refresh.testing import ManualClock, OutboxConformance, RegistryConformance, StoreConformance
from tests.testing.conformance.wrong_parts import WRONG_PARTS
from tests.testing.conformance.wrong_stores import WRONG, Wrong


class WholeConformance(StoreConformance, OutboxConformance, RegistryConformance):
    """The core and what is optional."""


def test_every_sentence_has_a_wrong_store() -> None:
    """Each test of the suite is failed by a store of the table."""
    tests = {name for name in dir(WholeConformance) if name.startswith("test_")}
    assert tests == {wrong.check for wrong in (*WRONG, *WRONG_PARTS)}


@pytest.mark.parametrize("wrong", [*WRONG, *WRONG_PARTS], ids=lambda wrong: wrong.what)
async def test_a_wrong_store_is_found_out(wrong: Wrong) -> None:
    """By the test of that sentence."""
    clock = ManualClock()

    class Suite(WholeConformance):
        async def make_store(self) -> Store:
            return wrong.store(clock)

        async def pass_time(self, store: Store, by: timedelta) -> None:
            clock.advance(by)

    with pytest.raises((AssertionError, ValueError)):
        await getattr(Suite(), wrong.check)()
