"""The states of a row as one text, for stores that want one column for them: ``active+mfa_required``."""

import re
from functools import lru_cache

from mesh_refresh.errors import InvalidRequest

_NAMES = re.compile(r"[a-z_]+(\+[a-z_]+)*", re.ASCII)
_DIFFERENT = 512
"""Sets that are remembered. A fleet has about a dozen."""


@lru_cache(_DIFFERENT)
def text_of(states: frozenset[str]) -> str:
    """The names of `states`, sorted, with ``+`` between them; empty for none.

    Raises `InvalidRequest` where one of them is no name of lower-case letters and ``_``.
    """
    text = "+".join(sorted(states))
    if states and not (_NAMES.fullmatch(text) and text.count("+") == len(states) - 1):
        raise InvalidRequest("A state must be a name of lower-case letters and _, such as active.")
    return text


@lru_cache(_DIFFERENT)
def states_of(text: str) -> frozenset[str]:
    """The set that was given to `text_of`."""
    return frozenset(text.split("+")) if text else frozenset()
