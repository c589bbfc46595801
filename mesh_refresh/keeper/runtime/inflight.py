"""What is under way in one keeper: exchanges, claims for callers, and results on their way into the store.

Plain records and the registry that has them. Only the event loop's thread touches them. The parts that do the work
(`exchange`, `writer`, `late_replies`) fill them in; callers, the loop, health and the shutdown read them.
"""

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from attrs import define, field

from mesh_refresh.errors import MeshRefreshError
from mesh_refresh.logins import Login
from mesh_refresh.replies.outcomes import Outcome


class StoreWrite(Protocol):
    """A result on its way into the store: see `mesh_refresh.keeper.runtime.writer.PendingWrite`."""

    path: Path | None
    """The file of the spool that holds it; None while no file does."""
    earlier: bool
    """An earlier process left it in the spool."""

    def spill_meanwhile(self) -> None:
        """Begin to copy it into the spool, and go on trying the store."""
        ...

    async def spilled(self) -> None:
        """Wait until it is in the spool, or the spool has failed too."""
        ...


@define(eq=False)
class ExchangeHandle:
    """One exchange, as seen from outside of it."""

    login_id: str
    broker: str
    claimed_at: float
    """In seconds of the monotonic clock, before the claim: the lease cannot have begun earlier."""
    done: "asyncio.Future[None]"
    """Has a result when the exchange is over, however it ended."""
    sent: bool = False
    """The request went out, or may have."""
    answered: bool = False
    """A reply with tokens came. Until it is written, the tokens in the store are out of date."""
    not_made: bool = False
    """A strategy or another part of the user's raised before the request: trying again at once would raise again."""
    login: Login | None = None
    """The login as the exchange wrote it; None before that, and where the login was removed."""
    error: MeshRefreshError | None = None
    """Why there are no new tokens."""
    outcome: Outcome | None = None
    """The reply, while it is not in the store."""
    write: StoreWrite | None = None
    """What brings the reply into the store."""

    @property
    def awaits_reply(self) -> bool:
        """Whether a reply may still come."""
        return self.sent and self.outcome is None and self.error is None


@define(eq=False)
class InFlight:
    """All that is under way. A keeper is drained when this is empty."""

    exchanges: dict[str, ExchangeHandle] = field(factory=dict)
    """By login id. Where the lease of an earlier exchange ran out under it, that one stays: it may have tokens."""
    claims: dict[str, "asyncio.Future[None]"] = field(factory=dict)
    """Claims for callers, by login id: other callers of that login wait for them."""
    writes: dict[StoreWrite, None] = field(factory=dict)
    """Results that are being written."""
    late: dict[StoreWrite, Outcome] = field(factory=dict)
    """Of these, replies that came after their exchange had ended."""
    parked_leases: dict[str, int] = field(factory=dict)
    """Numbers of claims whose login has unwritten tokens, by login id: the write of the tokens gives the lease back."""
    reading_spool: bool = False
    """The spool has not been read: any login may have newer tokens there, so nothing is answered or sent."""
    spool_pending: int = 0
    """Files of the spool that the store has not taken, and did not refuse: until then nothing is sent."""
    in_spool: int = 0
    """Files of an earlier process that are not in the store yet."""
    given_up: list[Outcome] = field(factory=list)
    """Results that neither the store nor the spool has: leaving the keeper raises them."""
    spilled: list[Outcome] = field(factory=list)
    """Results that the store did not take, and the spool has."""
    _unsaved: dict[str, int] = field(factory=dict)

    @property
    def unsaved_logins(self) -> Collection[str]:
        """The ids of logins with new tokens that are not in the store."""
        return self._unsaved.keys()

    @property
    def spool_files(self) -> int:
        """Files of the spool that are not in the store yet."""
        mine = [write for write in tuple(self.writes) if write.path is not None and not write.earlier]
        return len(mine) + len(self.spilled) + self.in_spool

    def is_unsaved(self, login_id: str) -> bool:
        """Whether new tokens of this login are not in the store."""
        return login_id in self._unsaved

    def is_out_of_date(self, login_id: str) -> bool:
        """Whether newer tokens than those in the store came, or may have come, for this login."""
        exchange = self.exchanges.get(login_id)
        return self.is_unsaved(login_id) or (exchange is not None and exchange.answered)

    def begin_write(self, login_id: str) -> None:
        """From here on, the store is known to be out of date for this login."""
        self._unsaved[login_id] = self._unsaved.get(login_id, 0) + 1

    def end_write(self, login_id: str) -> None:
        """One result of this login is written, or given up."""
        left = self._unsaved.pop(login_id) - 1
        if left:
            self._unsaved[login_id] = left
        else:
            self.parked_leases.pop(login_id, None)

    def give_up(self, outcome: Outcome, write: StoreWrite | None) -> None:
        """The store did not take `outcome` until the end: note where it is."""
        (self.spilled if write is not None and write.path is not None else self.given_up).append(outcome)
