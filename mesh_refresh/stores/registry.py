"""What the processes of a fleet tell each other by the store. An optional part of the contract.

Why it is as it is: docs/decisions/the-contract-of-stores.md.
"""

from abc import abstractmethod
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from attrs import field, frozen

from mesh_refresh.masking import masked_size


@frozen
class ProcessReport:
    """What a process said of itself last."""

    process: str
    """A name that no other process has."""
    role: str
    """What it does: ``run``, ``serve``."""
    at: datetime
    """When, by its wall clock."""
    sealed: bytes = field(repr=masked_size)


@frozen
class StoredFigures:
    """What the fleet was counted to be."""

    at: datetime
    """When that was, by the wall clock of the process that counted."""
    sealed: bytes = field(repr=masked_size)


class Registry(Protocol):
    """Every verb is one atomic step, as the verbs of `Store` are, and raises what those raise."""

    @abstractmethod
    async def put_report(self, report: ProcessReport) -> None:
        """Write what a process says, in place of what it said before."""
        ...

    @abstractmethod
    async def reports(self) -> Sequence[ProcessReport]:
        """The last one of each process, in the order of their names by code points."""
        ...

    @abstractmethod
    async def delete_report(self, process: str) -> bool:
        """A process ends in order. False where it said nothing."""
        ...

    @abstractmethod
    async def purge_reports(self, before: datetime) -> int:
        """Forget the processes that have said nothing since `before`. Gives how many."""
        ...

    @abstractmethod
    async def claim_duty(self, name: str, owner: str, lease: timedelta) -> bool:
        """Whether `owner` has the duty `name` for `lease` from now on, by the store's clock.

        It has where no other owner has a lease of it; its own lease is renewed. A lease ends at its very moment.
        """
        ...

    @abstractmethod
    async def release_duty(self, name: str, owner: str) -> bool:
        """Give a duty back. False, and nothing changed, where `owner` does not have it."""
        ...

    @abstractmethod
    async def put_figures(self, figures: StoredFigures) -> None:
        """Write them in place of those before."""
        ...

    @abstractmethod
    async def figures(self) -> StoredFigures | None:
        """The last ones; None where the fleet was never counted."""
        ...
