"""Tells the breakers of failed exchanges, and takes backoffs back that were no fault of their accounts.

`mesh_refresh.keeper.rules.classify` says what an error means. A request that is not accepted backs its account off,
until so many do that a breaker opens. Then those backoffs are undone.
"""

import asyncio
import logging
from collections.abc import Iterable
from datetime import timedelta
from functools import partial

from mesh_refresh.errors import MeshRefreshError
from mesh_refresh.keeper.errors import without_secrets
from mesh_refresh.keeper.events import BreakerFault
from mesh_refresh.keeper.limits.limiter import Permit
from mesh_refresh.keeper.rules.attempt import Attempt
from mesh_refresh.keeper.rules.classify import Heard, Signal, classify
from mesh_refresh.keeper.rules.failure import BackedOff, Failed, Failure, Refused, undo_backoff
from mesh_refresh.keeper.runtime.runtime import Runtime
from mesh_refresh.logins import Account, Login
from mesh_refresh.stores import row_of
from mesh_refresh.stores.compare_and_swap import NoWrite, RowWrite, compare_and_swap

_log = logging.getLogger("mesh_refresh.keeper")


def blame(
    runtime: Runtime, error: MeshRefreshError, account: Account, attempt: Attempt, permit: Permit
) -> Failure | None:
    """What `error` means for the account; None for a wrong code, which is no fault. The breakers are told too."""
    breakers, broker, probe, login_id = runtime.limiter.breakers, permit.broker, permit.probe, attempt.login_id
    now, at, tell = runtime.clock.monotonic(), runtime.at(), runtime.event_queue.tell
    failure, signal = classify(error, account.tokens, runtime.mesh.may_resend)
    said = error.display_message
    match signal:
        case Signal(Heard.ANSWERED):
            tell(breakers.answered(broker, now, at, probe, login_id=login_id))
        case Signal(Heard.REFUSED):
            expected = account.unknown_since is not None
            verdict = breakers.refused(broker, login_id, now, at, probe, account=account.epoch, expected=expected)
            tell(verdict.events)
            return Refused(said, verdict.blamed, breakers.forgiven_until(broker))
        case Signal(Heard.UNREADABLE):
            tell(breakers.unreadable(broker, None if attempt.with_code is not None else login_id, now, at, probe))
        case Signal(Heard.UNKNOWN):
            tell(breakers.unknown(broker, login_id, now, at, probe))
        case Signal(Heard.REJECTED, BreakerFault() as fault):
            return _rejected(
                runtime,
                type(error).__name__,
                fault,
                account=account,
                attempt=attempt,
                permit=permit,
                display_message=said,
            )
        case Signal(Heard.OUTAGE, BreakerFault() as fault):
            asked: timedelta | None = getattr(error, "retry_after", None)
            verdict = breakers.outage(
                broker, fault, now, at, probe, login_id=login_id, retry_after=asked, display_message=said
            )
            tell(verdict.events)
            wait = asked or timedelta() if verdict.blamed else breakers.held_back_for(broker, now)
            return Failed(type(error).__name__, verdict.blamed, wait)
        case _:
            pass  # Heard.NOTHING
    return failure


def blame_user_code(runtime: Runtime, error: Exception, account: Account, attempt: Attempt, permit: Permit) -> Failed:
    """What an exception of the user's code means, before anything was sent. It may be about one login or about all."""
    name = type(error).__name__
    return _rejected(runtime, name, BreakerFault.REJECTED, account=account, attempt=attempt, permit=permit, sent=False)


def _rejected(
    runtime: Runtime,
    name: str,
    fault: BreakerFault,
    *,
    account: Account,
    attempt: Attempt,
    permit: Permit,
    sent: bool = True,
    display_message: str | None = None,
) -> Failed:
    now, at = runtime.clock.monotonic(), runtime.at()
    backed_off = None if attempt.with_code is not None else BackedOff.of(account, attempt)
    breakers = runtime.limiter.breakers
    found = breakers.rejected(
        permit.broker,
        fault,
        now,
        at,
        permit.probe,
        backed_off=backed_off,
        sent=sent,
        display_message=display_message,
    )
    runtime.event_queue.tell(found.events)
    if found.undo:
        _ = runtime.start(_undo_backoffs(runtime, found.undo))
    wait = timedelta() if found.blamed else breakers.held_back_for(permit.broker, now)
    return Failed(name, found.blamed, wait)


async def _undo_backoffs(runtime: Runtime, backoffs: Iterable[BackedOff]) -> None:
    """Write each of these accounts as it was before. Where the store fails, a backoff ends by itself."""
    runtime.undoing += 1
    try:
        for backed_off in backoffs:
            exchange = runtime.inflight.exchanges.get(backed_off.login_id)
            if exchange is not None:
                await asyncio.wait((exchange.done,))  # its failure may not be written yet
            try:
                await _undo(runtime, backed_off)
            except Exception as error:  # noqa: BLE001 - a store may raise anything
                _log.warning("a backoff stays", extra={"login_id": backed_off.login_id, **without_secrets(error)})
    finally:
        runtime.undoing -= 1
        runtime.wake()


async def _undo(runtime: Runtime, backed_off: BackedOff) -> None:
    def decide(login: Login | None) -> RowWrite[None] | NoWrite[None]:
        if login is None:
            return NoWrite(None)
        context = runtime.context()
        after = undo_backoff(login, backed_off, context)
        return NoWrite(None) if after is login else RowWrite(row_of(runtime.store.cipher, after, context.now), None)

    read = partial(runtime.read, backed_off.login_id)
    await compare_and_swap(runtime.store, read, decide, write=runtime.written)
