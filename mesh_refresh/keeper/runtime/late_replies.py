"""Replies that come after their exchange has ended, and bytes behind a reply: both are written into the login's row.

The lease of the exchange is given back by then, so the row is read, merged and swapped without a lease.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from attrs import evolve

from mesh_refresh.keeper.rules.attempt import Attempt, Unreadable, result_of
from mesh_refresh.keeper.rules.unreadable import judge
from mesh_refresh.keeper.runtime.inflight import StoreWrite
from mesh_refresh.keeper.runtime.runtime import Runtime
from mesh_refresh.keeper.runtime.writer import GivenUp, PendingWrite
from mesh_refresh.logins import Login
from mesh_refresh.replies.outcomes import NotSaved, Outcome, UnreadableReply
from mesh_refresh.tasks import CancelledForGood, run_foreign

_log = logging.getLogger("mesh_refresh.keeper")


def late_replies(
    runtime: Runtime, login: Login, attempt: Attempt, ended: "asyncio.Future[None]"
) -> Callable[[Outcome], Awaitable[None] | None]:
    """The function that the client calls with what comes after the exchange of `attempt`. `ended` is done at its end.

    From the call on, the keeper is responsible for the outcome: it writes it into the store or the spool, or leaving it
    raises the outcome. After its drain, the function gives back what the client must await; that raises `NotSaved` if
    neither the store nor the spool takes the outcome and leaving is over. The client may keep the function for as long
    as the connection lives, so it holds nothing large.
    """

    def keep(came: Outcome) -> Awaitable[None] | None:
        if not isinstance(came, UnreadableReply):
            came = judge(login, came)
            late = False  # the answer to the request, which is merged as any other
        elif came.may_hold_token:
            late = True
        else:
            return None
        result = result_of(came, runtime.names)
        if isinstance(came, UnreadableReply) and isinstance(result, Unreadable):
            _log.error("what came after an exchange cannot be read", extra={"login_id": attempt.login_id})
            now, at = runtime.clock.monotonic(), runtime.at()
            counted = None if attempt.with_code is not None else attempt.login_id
            runtime.event_queue.tell(runtime.limiter.breakers.unreadable(login.broker, counted, now, at, ()))
            result = evolve(result, late=late)
        else:
            _log.info("a reply came after its deadline", extra={"login_id": attempt.login_id})
        # Made at once: from here on, nothing is sent or answered of the login before this is written.
        write = PendingWrite(runtime, attempt, result, after=ended)
        runtime.inflight.late[write] = came
        saving = runtime.protect(_save(runtime, write))
        # A client that waits for the store passes `on_outcome_timeout` in an outage. At its end it would raise, as
        # unsaved, tokens that are in the store by then, and spent.
        return saving if runtime.drained else None

    return keep


async def _save(runtime: Runtime, write: PendingWrite) -> None:
    try:
        if runtime.drained:  # nothing else ends a store that does not answer
            settled = await run_foreign(lambda: write.save(None), timeout=runtime.patience, again=False)
        else:
            settled = await write.save(None)
    except (GivenUp, TimeoutError, CancelledForGood):
        await write.spilled()
        give_up(runtime, write)
        return
    del runtime.inflight.late[write]
    runtime.event_queue.tell(settled.events)


def give_up(runtime: Runtime, write: StoreWrite) -> None:
    """The store did not take a late reply until the keeper was left. Raises `NotSaved` where leaving is over."""
    reply = runtime.inflight.late.pop(write, None)
    if reply is None:
        return  # the shutdown gave it up already
    if runtime.left and write.path is None:
        raise NotSaved("The store did not take a late reply after the keeper was left.", (reply,))
    runtime.inflight.give_up(reply, write)
