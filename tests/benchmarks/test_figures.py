"""The figures say what was measured."""

import pytest

from tests.benchmarks.figures import Spread, percentile, ratios, rises, spread


def test_a_spread_is_the_median_and_the_quartiles() -> None:
    """Half of all rounds lie between the two numbers beside the median, and none of the three is made up."""
    assert spread([5, 1, 4, 2, 3]) == Spread(3, 2, 4)
    assert spread([7]) == Spread(7, 7, 7)


def test_ratios_are_taken_round_by_round() -> None:
    """A round in which the machine was twice as slow counts like any other."""
    assert ratios([1.0, 2.2, 0.9], of=[1.0, 2.0, 1.0]) == Spread(1.0, 0.95, 1.05)
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], of=[1.0])


def test_a_percentile_is_one_of_the_values() -> None:
    """So many of all values do not exceed it."""
    values = list(range(1, 1001))
    assert [percentile(values, share) for share in (0.5, 0.999, 1.0)] == [500, 999, 1000]
    assert percentile([3.0], 0.999) == 3.0


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (Spread(0.9846, 0.971, 1.01), "0.98 (0.97-1.01)"),
        (Spread(2, 2, 2), "2.00"),
        (Spread(-0.001, -0.001, -0.001), "0.00"),
        (Spread(12345.6, 12000, 13000), "12,345.60 (12,000.00-13,000.00)"),
    ],
)
def test_it_is_written_like_this(values: Spread, text: str) -> None:
    """The spread stands behind the median, unless there is none."""
    assert values.text() == text


def test_a_rise_is_named_with_its_ends() -> None:
    """A cost a piece that grows by more than a quarter from one point to the next is a super-linear step."""
    assert list(rises({1: 100, 10: 110, 100: 160, 1000: 150})) == [(10, 100, 160 / 110)]
    assert not list(rises({1: 100, 10: 124, 100: 100}))
