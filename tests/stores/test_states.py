"""The states of a row as one text, and back."""

import pytest

from mesh_refresh import InvalidRequest
from mesh_refresh.logins import AccountState, Way
from mesh_refresh.stores.states import states_of, text_of


@pytest.mark.parametrize("names", [[], ["active"], ["mfa_required", "active"], list(AccountState), list(Way)])
def test_a_set_of_states_is_one_text_and_back(names: list[str]) -> None:
    """In whatever order the set has them."""
    states = frozenset(names)
    assert states_of(text_of(states)) == states
    assert text_of(states) == text_of(frozenset(reversed(names))) == "+".join(sorted(names))


@pytest.mark.parametrize(
    "name", ["", "Active", "active mfa", "a+b", "+", "active\n", "a-b", "7", "\N{LATIN SMALL LETTER E WITH ACUTE}"]
)
def test_what_is_no_name_of_a_state_is_refused(name: str) -> None:
    """Alone and beside others: two sets must not be one text."""
    for states in ({name}, {name, "active"}, {name, "a", "b"}):
        with pytest.raises(InvalidRequest, match="A state must be a name"):
            text_of(frozenset(states))
