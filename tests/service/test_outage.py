"""A receiver that is down for long, with a keeper that goes on: few probes, then all, and none is lost."""

from datetime import timedelta
from itertools import pairwise

from tests.service.outage import outage

NOTICES, DOWN = 1_000, timedelta(hours=2)


def test_a_receiver_that_is_down_is_probed_once_a_minute_and_then_takes_all() -> None:
    told = outage(NOTICES, DOWN)
    probes = [at for at in told.attempts if at < told.up_at]
    assert DOWN.total_seconds() / 66 < len(probes) <= 10 + DOWN.total_seconds() / 60
    later = [at for at in probes if at > 30]
    assert min(after - at for at, after in pairwise(later)) >= 60
    assert told.most_at_once == 10
    assert len(told.taken) == NOTICES
    assert set(told.taken.values()) == {1}
    assert (told.waiting, told.dead) == (0, 0)
    assert told.done_at < told.up_at + 300
