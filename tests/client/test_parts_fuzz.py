"""Parts of the user's that raise, return wrong types, wait, cancel and call back, at each place where they are called.

Each caller gets an outcome or an error of ours, aclose() ends, what came is with somebody, and no task and no complaint
is left behind. ``nox -s fuzz`` tries many more stories.
"""

import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from tests.client.parts_world import PLACES, Story, wrong_after
from tests.examples import bounded

LISTS = {place: st.lists(st.sampled_from(acts), min_size=1, max_size=3).map(tuple) for place, acts in PLACES.items()}
STORIES = st.builds(
    Story,
    st.fixed_dictionaries({}, optional=LISTS),
    st.lists(st.integers(0, 3), max_size=2, unique=True).map(tuple),
    st.integers(0, 60),
)


@given(story=STORIES)
@bounded(40)
def test_any_story(story: Story) -> None:
    """Whatever the parts do, and whenever callers are cancelled."""
    note(f"{story.acts} {story.cancelled} {story.steps}")
    assert wrong_after(story) == []


@pytest.mark.parametrize(("place", "act"), [(place, act) for place, acts in PLACES.items() for act in acts])
def test_one_act(place: str, act: str) -> None:
    """Each act of each part, alone: the three stories that were first found are among them."""
    assert wrong_after(Story({place: (act,)})) == []
