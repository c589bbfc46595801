"""Logins that do not open with the keys of this process: after a few, it claims less, and then nothing."""

from mesh_refresh.keeper import Policy
from mesh_refresh.keeper.limits.key_mismatch import KeyMismatch


def test_it_looks_now_and_then_whether_logins_open_again() -> None:
    """A few at a time; one that opens, and it claims as before."""
    policy = Policy()
    pause = policy.backoff_cap.total_seconds()
    unopened = KeyMismatch(policy)
    assert [unopened.failed(name, 7.0) for name in "aabb"] == [False] * 4
    assert unopened.slots(50, 7.0) == 50
    assert unopened.failed("c", 7.0) is True
    assert [unopened.slots(50, at) for at in (7.0, 6.9 + pause, 7.0 + pause, 7.1 + pause)] == [0, 0, 4, 0]
    assert unopened.failed("d", 7.1 + pause) is False
    assert unopened.slots(50, 7.0 + 2 * pause) == 0
    assert unopened.opened() is True
    assert unopened.opened() is False
    assert unopened.slots(50, 8.0 + pause) == 50


def test_it_counts_those_that_do_not_open() -> None:
    """Until they open, or are not met any more; while claiming has stopped, it meets few."""
    policy = Policy()
    pause = policy.backoff_cap.total_seconds()
    unopened = KeyMismatch(policy)
    for login_id in "aab":
        unopened.met(login_id, 7.0)
    assert unopened.unopened(7.0 + 2 * pause) == 2
    unopened.forget("a")
    unopened.forget("never met")
    assert unopened.unopened(7.0) == 1
    assert unopened.unopened(7.1 + 2 * pause) == 0
    for login_id in "abc":
        unopened.failed(login_id, 8.0)
    assert unopened.unopened(7.1 + 2 * pause) == 1
    for number in range(2000):
        unopened.met(str(number), 9.0)
    assert unopened.unopened(9.0) == 1000
