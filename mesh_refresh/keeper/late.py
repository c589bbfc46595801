"""Bytes that come on a connection after the reply of an exchange, into the row of the login that it was for.

The exchange is over by then and its lease is given back, so the row is read, merged and swapped without a lease.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from mesh_refresh.keeper.attempts import Attempt, Unreadable
from mesh_refresh.keeper.core import Core
from mesh_refresh.keeper.settling import GivenUp, Saving
from mesh_refresh.outcomes import NotSaved, UnreadableReply

_log = logging.getLogger("mesh_refresh.keeper")


def late_replies(
    core: Core, broker: str, attempt: Attempt, ended: "asyncio.Future[None]"
) -> Callable[[UnreadableReply], Awaitable[None] | None]:
    """What the client is to call with the bytes that come after the reply of `attempt`; `ended`: its exchange is over.

    What it gives back is done when the bytes are in the store, in the spool, or among what leaving the keeper raises.
    It raises `NotSaved` only after the keeper was left, where neither the store nor the spool takes them. The client
    may keep the function for as long as the connection lives, so it holds nothing large.
    """

    def keep(reply: UnreadableReply) -> Awaitable[None] | None:
        if not reply.may_hold_token:
            return None
        _log.error("bytes came after the reply of an exchange", extra={"login_id": attempt.login_id})
        core.teller.tell(core.gate.breakers.unreadable(broker, attempt.login_id, core.clock.monotonic(), core.at(), ()))
        kept = Unreadable(reply.body, reply.display_message, late=True)
        # Made at once: from here on, nothing is sent or answered of the login before this is written.
        saving = Saving(core, attempt, kept, after=ended)
        core.late[saving] = reply
        return core.protect(_save(core, saving))

    return keep


async def _save(core: Core, saving: Saving) -> None:
    try:
        settled = await saving.save(None)
    except GivenUp:
        give_up(core, saving)
        return
    del core.late[saving]
    core.teller.tell(settled.told)


def give_up(core: Core, saving: Saving) -> None:
    """The store does not take it until the keeper is left, or not at all since."""
    reply = core.late.pop(saving, None)
    if reply is None:
        return  # it was given up before
    if saving.path is not None:
        core.spilled.append(reply)
        return
    if core.left:
        raise NotSaved("The store did not take a late reply after the keeper was left.", (reply,))
    core.given_up.append(reply)
