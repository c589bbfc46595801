"""Loops in debug mode, at a third of what they cost."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch


@contextmanager
def short_stacks() -> Iterator[None]:
    """A loop in debug mode keeps the stack of each callback, task and future, which only its complaints show.

    Here it keeps the two innermost frames: all of them take most of the time. Python shows no more of an error either.
    """
    with (
        patch("asyncio.constants.DEBUG_STACK_DEPTH", 2),
        patch.object(sys, "tracebacklimit", 2, create=True),
    ):
        yield
