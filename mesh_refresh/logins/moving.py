"""A login that moves from one store to another: nobody exchanges it in either, but where it is at home."""

from enum import StrEnum

from attrs import frozen


class Way(StrEnum):
    """Where it is on its way, as the row shows it."""

    ARRIVING = "arriving"
    """It was written here, and is not released yet: the other store may still have newer tokens."""
    MOVED = "moved"
    """It is in another store now. What still comes for it is kept here, until it is taken over."""


@frozen
class Moving:
    """What is known of the move."""

    way: Way
    revision: int = 0
    """Of a moved row: as it was when the other store took over what is in it. A later one was written since."""
    seen: tuple[tuple[str, int], ...] = ()
    """Then, the epoch of every account, and the number of the attempt that had brought something for it last. Of a row
    that arrives: of every account that was copied."""
    to: str = ""
    """Of a moved row: the id of the store that it went to. Empty where that store has none."""
