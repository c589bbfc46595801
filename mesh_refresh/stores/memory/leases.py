"""Leases of MemoryStore, in whole microseconds of its clock."""

from datetime import timedelta

from attrs import define

from mesh_refresh.clock import Clock

_MICROSECOND = timedelta(microseconds=1)


def microseconds_of(clock: Clock) -> int:
    """The monotonic clock. Whole: sums of binary fractions miss the very moment at which a lease ends."""
    return round(clock.monotonic() * 1_000_000)


@define
class MemoryLease:
    """Who has something, and until when. Without an owner it is a hold: no claim gets it before the end."""

    owner: str | None = None
    until: int | None = None

    def is_taken(self, now: int) -> bool:
        """Whether there is a lease or a hold."""
        return self.left(now) > timedelta()

    def take(self, owner: str, length: timedelta, now: int) -> None:
        """Give it to `owner`."""
        self.owner, self.until = owner, now + length // _MICROSECOND

    def hold(self, length: timedelta, now: int) -> None:
        """No owner has it any more, and no claim gets it for `length`."""
        self.owner, self.until = None, now + length // _MICROSECOND

    def end(self) -> None:
        """It is free."""
        self.owner = self.until = None

    def left(self, now: int) -> timedelta:
        """For how long it is taken."""
        return timedelta(microseconds=self.until - now) if self.until is not None and now < self.until else timedelta()
