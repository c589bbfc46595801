"""The faults are over: everything must be fresh again, but what is parked for a reason, or waits to be asked for."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from attrs import frozen

from mesh_refresh.keeper.rules.schedule import is_good
from mesh_refresh.logins import Account, AccountState, Login
from mesh_refresh.testing import FakeLogin
from tests.simulation.parking import NOT_KNOWN
from tests.simulation.process import Process
from tests.simulation.strategies import opened

if TYPE_CHECKING:
    from tests.simulation.world import World

ON_DEMAND = "refreshed on demand only: its last refresh needed a code"
DELAYED = "not to be exchanged within a day of the login"
TOO_MANY = "more accounts than turns within the life of a token"
GAVE_UP = "a clock that was years ahead let it seem to have failed for so long: it is tried once a day"
LEAST_INTERVAL = "the least interval is longer than its token lives"


async def finale(world: "World") -> None:
    """Let the sun shine for a while, and look."""
    world.fake.heal()
    for process in world.processes:
        process.store.gone = process.store.hangs_until = 0.0
    for number, process in enumerate(world.processes):
        if not process.alive:
            world.processes[number] = world.born(number)
    if len(world.memories) > 1:
        await world.copy(*world.memories, wait=True)
    # From here on, every request must be one that a calm keeper sends.
    policy = world.choices.policy
    unit = world.choices.deadline
    await asyncio.sleep(unit * 10 + 4 * (policy.lease + policy.resend_after + policy.backoff_cap).total_seconds())
    calm = world.loop.now
    await asyncio.sleep(unit * 20)
    for login in world.people.members.values():
        _paced(world, login, calm)
    wrong: list[str] = []
    for turn in range(40):
        # What is under way at one look has ended at the next: only what is wrong at each of them is wrong.
        wrong = [*_looked_at(world)]
        if not wrong:
            break
        await asyncio.sleep(unit / 2 + turn / 100)
    for what in wrong:
        world.judge.violated(what)
    for process in world.processes:
        leak = await _leaks(world, process)
        if leak:
            world.judge.violated(f"{process.name} leaks places: {leak}")
    _nothing_dropped(world)
    for login in world.people.members.values():
        _counted(world, login)


def _paced(world: "World", login: FakeLogin, since: float) -> None:
    """In calm weather, no login is exchanged more often than its lifetimes and the policy ask for."""
    judge, policy, options = world.judge, world.choices.policy, login.options
    spans = [policy.keep_alive * 0.9] if policy.keep_alive is not None else []
    if options.access_lifetime is not None:
        margin = min(policy.refresh_before, options.access_lifetime * policy.refresh_fraction)
        spans.append(max(policy.min_interval, options.access_lifetime - margin * (1 + policy.spread)))
    if options.refresh_lifetime is not None:
        spans.append(options.refresh_lifetime / 2)
    taken = timedelta(seconds=world.loop.now - since)
    turns = max([taken / span for span in spans], default=0.0)
    asked = judge.pace.asked(login.id, since)
    sent = sum(it.arrived >= since for it in judge.parking.by_login.get(login.id, ()))
    most = len(login.account_ids) * (2 * turns + 3) + 4 + 2 * asked
    if sent > most:
        judge.violated(f"{login.id} was exchanged {sent} times in calm weather, and {most:.0f} would do")


def _counted(world: "World", login: FakeLogin) -> None:
    """Whether all of the login was asserted on; else by what the first of its accounts is excused."""
    covered = world.judge.covered
    stored = opened(world.memories[0].cipher, world.judge.kept(login.id).row)
    excused = None
    for account in stored.accounts:
        covered[f"in the end: {account.state}"] += 1
        found = _seen(world, login, stored, account)
        excused = excused or found.excuse
        covered[f"in the end, accounts {found.excuse or 'that are fresh'}"] += 1
    covered["in the end, logins"] += 1
    covered["in the end, logins all fresh" if excused is None else f"in the end, logins excused: {excused}"] += 1


def _looked_at(world: "World") -> Iterator[str]:
    for process in world.processes:
        yield from _of_process(process)
    for login in world.people.members.values():
        yield from _of_login(world, login)


async def _leaks(world: "World", process: Process) -> str | None:
    """None where at some moment every place that is taken has an exchange."""
    found = None
    for _ in range(40):
        core = process.core
        if core is None:
            return None
        gate = core.limiter
        under_way = len(core.inflight.exchanges)
        if gate.in_flight == under_way and not gate.reserved and not gate.asking:
            return None
        found = f"{gate.in_flight} taken by {under_way} exchanges, {gate.reserved} reserved, {gate.asking} asking"
        await asyncio.sleep(world.choices.deadline / 31)
    return found


def _of_process(process: Process) -> Iterator[str]:
    core, keeper = process.core, process.keeper
    if core is None or keeper is None:
        yield f"{process.name} has not even started"
        return
    if core.inflight.unsaved_logins or core.inflight.spool_pending:
        yield f"{process.name} still has tokens that are not in the store"
    health = keeper.health()
    # A halt is over with the next exchange that succeeds; where nothing is left to exchange, there is none.
    if core.limiter.breakers.halted is None and not health.ok:
        yield f"{process.name} is not well: {health.problems}"


def _of_login(world: "World", login: FakeLogin) -> Iterator[str]:
    kept = world.judge.kept(login.id)
    if kept is None:
        yield f"{login.id} was forgotten"
        return
    stored = opened(world.memories[0].cipher, kept.row)
    if len(stored.accounts) < (len(login.account_ids) if login.options.named else 1):
        yield f"an account of {login.id} was forgotten"
    if world.judge.alarms is not None:
        yield from world.judge.alarms.in_the_end(login, stored)
    if world.telling is not None:
        yield from world.telling.in_the_end(stored)
    for account in stored.accounts:
        wrong = _seen(world, login, stored, account).wrong
        if wrong:
            tokens = account.tokens
            yield (
                f"{login.id} {tokens.account_id} ({login.broker}) is {account.state} ({account.reason}),"
                f" due {account.due_at}, {account.last_error}, at {world.machine.now()}: {wrong}"
            )


@frozen
class Seen:
    """What an account is in the end: fresh, where there is nothing wrong and no excuse."""

    wrong: str | None = None
    excuse: str | None = None


def _seen(world: "World", login: FakeLogin, stored: Login, account: Account) -> Seen:
    judge, now, policy = world.judge, world.machine.now(), world.choices.policy
    if account.state is not AccountState.ACTIVE:
        cause = judge.parking.cause(stored, account) or judge.parking.known.get((account.epoch, account.state))
        return Seen("it is parked for no reason that is known") if cause is None else Seen(excuse=cause)
    not_before = account.tokens.not_before
    if not_before is not None and account.tokens.auth_token is None and (judge.jumps or now < not_before):
        return Seen(excuse=DELAYED)
    if not world.fake.is_live(account.tokens.refresh_token):
        cause = judge.excuses.of_token(account.tokens.refresh_token)
        if cause is None:
            return Seen("its refresh token is dead, for no reason that is known")
        late = account.due_at is not None and account.due_at < now - 8 * timedelta(seconds=judge.deadline)
        return Seen("its refresh token is dead, and nobody noticed") if late else Seen(excuse=cause)
    if account.needs_code:
        return Seen(excuse=ON_DEMAND) if login.options.mfa else Seen("nobody has ever asked for a code")
    if account.unknown_since is not None and account.resend_not_before is not None and now < account.resend_not_before:
        # Another process might hold the new pair: it is waited for, as long as the old access token is good.
        known = judge.parking.is_unknown(account)
        return Seen(excuse=NOT_KNOWN) if known else Seen("it waits, though nothing was sent without an answer")
    if not is_good(account.tokens, now, policy):
        if _too_many(world, login):
            return Seen(excuse=TOO_MANY)
        held = account.retry_not_before
        if judge.jumps and account.failures and held is not None and now < held <= now + timedelta(days=1):
            return Seen(excuse=GAVE_UP)
        turn = policy.min_interval * len(login.account_ids)
        waits = account.due_at is not None and now < account.due_at <= now + turn
        return Seen(excuse=LEAST_INTERVAL) if waits else Seen("its access token is not fresh")
    if account.due_at is not None and account.due_at < now - timedelta(seconds=judge.deadline * 8):
        return Seen("it is due, and nobody comes")
    return Seen()


def _too_many(world: "World", login: FakeLogin) -> bool:
    """Whether its accounts, one at a time, take longer than a token lives."""
    lifetime = login.options.access_lifetime
    turn = max(world.choices.policy.min_interval, world.choices.policy.poll)
    return lifetime is not None and len(login.account_ids) > 1 and turn * len(login.account_ids) > lifetime / 3


def _nothing_dropped(world: "World") -> None:
    """Every new pair is in the store, or was at some time; else nobody could have it, or a crash cut it off."""
    judge = world.judge
    for sent in judge.sent:
        if judge.excuses.stored.issuperset(sent.successors):
            continue
        if judge.loop.now - sent.arrived < judge.deadline * 2 and sent.host not in judge.loop.dead:
            continue  # it is on its way
        why = judge.excuses.of_pair(sent)
        judge.covered["new pairs that nobody has"] += 1
        judge.covered[f"new pairs that nobody has: {why}"] += 1
        if why is None:
            judge.violated(f"a new pair of {sent.login}, that {sent.host} brought at {sent.arrived:.3f}, was dropped")
