"""What comes after an exchange has ended, into the row of the login that it was for: its reply, or bytes behind that.

The exchange is over by then and its lease is given back, so the row is read, merged and swapped without a lease.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from attrs import evolve

from mesh_refresh.keeper.rules.attempt import Attempt, Unreadable, result_of
from mesh_refresh.keeper.rules.unreadable import judge
from mesh_refresh.keeper.runtime.runtime import Runtime
from mesh_refresh.keeper.runtime.writer import GivenUp, PendingWrite, Settled
from mesh_refresh.logins import Login
from mesh_refresh.replies.outcomes import NotSaved, Outcome, UnreadableReply
from mesh_refresh.tasks import CancelledForGood, run_foreign

_log = logging.getLogger("mesh_refresh.keeper")


def late_replies(
    runtime: Runtime, login: Login, attempt: Attempt, ended: "asyncio.Future[None]"
) -> Callable[[Outcome], Awaitable[None] | None]:
    """What the client is to call with what comes after the exchange of `attempt`; `ended`: that is over.

    What it gives back is done when the bytes are in the store, in the spool, or among what leaving the keeper raises.
    It raises `NotSaved` only after the keeper was left, where neither the store nor the spool takes them. The client
    may keep the function for as long as the connection lives, so it holds nothing large.
    """

    def keep(came: Outcome) -> Awaitable[None] | None:
        if not isinstance(came, UnreadableReply):
            came = judge(login, came)
            late = False  # the answer to the request, which is merged as any other
        elif came.may_hold_token:
            late = True
        else:
            return None
        kept = result_of(came, runtime.names)
        if isinstance(came, UnreadableReply) and isinstance(kept, Unreadable):
            _log.error("what came after an exchange cannot be read", extra={"login_id": attempt.login_id})
            now, at = runtime.clock.monotonic(), runtime.at()
            counted = None if attempt.with_code is not None else attempt.login_id
            runtime.event_queue.tell(runtime.limiter.breakers.unreadable(login.broker, counted, now, at, ()))
            kept = evolve(kept, late=late)
        else:
            _log.info("a reply came after its deadline", extra={"login_id": attempt.login_id})
        # Made at once: from here on, nothing is sent or answered of the login before this is written.
        saving = PendingWrite(runtime, attempt, kept, after=ended)
        runtime.late[saving] = came
        return runtime.protect(_save(runtime, saving))

    return keep


async def _save(runtime: Runtime, saving: PendingWrite) -> None:
    settled: Settled
    try:
        if runtime.drained:  # nothing else ends a store that does not answer
            settled = await run_foreign(lambda: saving.save(None), timeout=runtime.patience, again=False)
        else:
            settled = await saving.save(None)
    except (GivenUp, TimeoutError, CancelledForGood):
        await saving.spilled()
        give_up(runtime, saving)
        return
    del runtime.late[saving]
    runtime.event_queue.tell(settled.told)


def give_up(runtime: Runtime, saving: PendingWrite) -> None:
    """The store does not take it until the keeper is left, or not at all since."""
    reply = runtime.late.pop(saving, None)
    if reply is None:
        return  # it was given up before
    if saving.path is not None:
        runtime.spilled.append(reply)
        return
    if runtime.left:
        raise NotSaved("The store did not take a late reply after the keeper was left.", (reply,))
    runtime.given_up.append(reply)
