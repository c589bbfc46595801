"""A login that moves from one store to another. Only the store in which it is at home exchanges it."""

from enum import StrEnum

from attrs import frozen


class Way(StrEnum):
    """How a login moves, as its row shows it."""

    ARRIVING = "arriving"
    """It was written here, and is not released yet: the store that it comes from may have newer tokens."""
    MOVED = "moved"
    """It is at home in another store now. Replies that still come for it are kept here, until they are taken over."""


@frozen
class Moving:
    """What is known of the move."""

    way: Way
    revision: int = 0
    """Of a moved row: its revision when the other store had all that is in it. A higher one was written since."""
    seen: tuple[tuple[str, int], ...] = ()
    """For every account at that time: its epoch, and the number of the attempt that had settled it last. Of a row that
    arrives: for every account that was copied."""
    other: str = ""
    """The id of the store that a moved row went to, or that an arriving row comes from."""
