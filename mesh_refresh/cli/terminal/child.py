"""What a process that another one has started knows of itself."""

from contextvars import ContextVar
from pathlib import Path

from attrs import frozen


@frozen
class Child:
    """One of the workers of ``run --processes``."""

    name: str
    """Its number, from 1: in its log, in the label of its series, and for its share of the limits."""
    socket: Path
    """Where it answers its parent."""


CHILD: "ContextVar[Child | None]" = ContextVar("mesh_refresh child", default=None)
"""None: this process was not started by another one of ours."""
