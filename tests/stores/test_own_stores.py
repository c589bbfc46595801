"""Stores of users, which derive from the contract."""

from typing import Any

import pytest

from mesh_refresh.stores import MemoryStore, Outbox, Registry, Store


@pytest.mark.parametrize(
    ("part", "whole"),
    [
        (Store, MemoryStore),
        (Outbox, type(MemoryStore().outbox)),
        (Registry, type(MemoryStore().registry)),
    ],
    ids=["store", "outbox", "registry"],
)
def test_one_that_lacks_a_verb_cannot_be_made(part: Any, whole: Any) -> None:
    """It is told before anything is stored, by the name of the verb: a verb that gives None would lose a token."""
    verbs = part.__abstractmethods__
    assert verbs
    assert not whole.__abstractmethods__
    for verb in verbs:
        names = {name: getattr(whole, name) for name in verbs - {verb}}
        with pytest.raises(TypeError, match=f"abstract.* {verb}|'{verb}'"):
            type("Own", (part,), names)()
