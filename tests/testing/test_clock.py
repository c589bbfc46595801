"""ManualClock."""

from datetime import UTC, datetime, timedelta

import pytest

from mesh_refresh.testing import ManualClock


def test_advance_moves_both_hands() -> None:
    """Time that passes is seen on the wall clock and on the monotonic one."""
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    before = clock.monotonic()
    clock.advance(timedelta(minutes=1))
    clock.advance(30)
    assert clock.now() == datetime(2026, 1, 1, 0, 1, 30, tzinfo=UTC)
    assert clock.monotonic() - before == 90


def test_jump_and_set_move_the_wall_clock_alone() -> None:
    """A wall clock that is put back leaves the monotonic one as it was."""
    clock = ManualClock()
    start, before = clock.now(), clock.monotonic()
    clock.jump(timedelta(days=-1))
    assert clock.now() == start - timedelta(days=1)
    clock.set(start)
    assert (clock.now(), clock.monotonic()) == (start, before)


def test_time_does_not_run_back() -> None:
    """Advancing by less than nothing, and naive datetimes, are refused."""
    with pytest.raises(ValueError, match="forward"):
        ManualClock().advance(-1)
    with pytest.raises(ValueError, match="aware"):
        ManualClock(datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point
