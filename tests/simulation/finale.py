"""The faults are over: everything must be fresh again, but what is parked for a reason, or waits to be asked for."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from mesh_refresh.keeper.due import is_good
from mesh_refresh.logins import Account, AccountState, Reason
from mesh_refresh.stores.sealing import opened
from mesh_refresh.testing import FakeLogin
from mesh_refresh.testing.ledger import Kind
from tests.simulation.choices import REFUSING
from tests.simulation.judge import unknowable
from tests.simulation.process import Process

if TYPE_CHECKING:
    from tests.simulation.world import World


async def finale(world: "World") -> None:
    """Let the sun shine for a while, and look."""
    world.fake.heal()
    for process in world.processes:
        process.store.gone = 0.0
    for number, process in enumerate(world.processes):
        if not process.alive:
            world.processes[number] = world.born(number)
    # From here on, every request must be one that a calm keeper sends.
    policy = world.choices.policy
    unit = world.choices.deadline
    await asyncio.sleep(unit * 30 + 4 * (policy.lease + policy.settle + policy.backoff_cap).total_seconds())
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
        for account in opened(world.memory.cipher, world.memory._kept[login.id].row).accounts:
            world.judge.covered[f"in the end: {account.state}"] += 1


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
        gate = core.gate
        if gate.in_flight == len(core.units) and not gate.reserved and not gate.asking:
            return None
        found = f"{gate.in_flight} taken by {len(core.units)} units, {gate.reserved} reserved, {gate.asking} asking"
        await asyncio.sleep(world.choices.deadline / 31)
    return found


def _of_process(process: Process) -> Iterator[str]:
    core, keeper = process.core, process.keeper
    if core is None or keeper is None:
        yield f"{process.name} has not even started"
        return
    if core.unsaved or core.unread:
        yield f"{process.name} still has tokens that are not in the store"
    health = keeper.health()
    # A halt is over with the next exchange that succeeds; where nothing is left to exchange, there is none.
    if core.gate.breakers.halted is None and not health.ok:
        yield f"{process.name} is not well: {health.problems}"


def _of_login(world: "World", login: FakeLogin) -> Iterator[str]:
    kept = world.memory._kept.get(login.id)
    if kept is None:
        yield f"{login.id} was forgotten"
        return
    stored = opened(world.memory.cipher, kept.row)
    if len(stored.accounts) < (len(login.account_ids) if login.options.named else 1):
        yield f"an account of {login.id} was forgotten"
    for account in stored.accounts:
        wrong = _wrong(world, login, account)
        if wrong:
            tokens = account.tokens
            yield (
                f"{login.id} {tokens.account_id} ({login.broker}) is {account.state},"
                f" due {account.due_at}, {account.last_error}, at {world.machine.now()}: {wrong}"
            )


def _wrong(world: "World", login: FakeLogin, account: Account) -> str | None:
    """Why this account is not as it should be in the end; None where it is."""
    judge, now = world.judge, world.machine.now()
    hopeless = login.id in judge.blemished or unknowable(world.fake, login.id) or judge.lenient
    match account.state:
        case AccountState.MFA_REQUIRED:
            return None if login.options.mfa else "nobody asked for a code"
        case AccountState.UNREADABLE:
            return None if account.body is not None or len(login.account_ids) > 1 else "there is no body"
        case AccountState.NOT_REFRESHABLE:
            return "it has a refresh token" if login.options.refreshable else None
        case AccountState.RECONNECT_REQUIRED:
            if account.reason is None:
                return "no reason is given"
            if not login.options.refreshable or hopeless or account.reason is Reason.EXPIRED:
                return None
            return _parked_rightly(world, login, account)
    if account.needs_code or hopeless:
        return None
    if account.unknown_since is not None and account.wait_until is not None and now < account.wait_until:
        return (
            None  # another process might hold the new pair: it is waited for, as long as the old access token is good
        )
    if account.tokens.not_before is not None and account.tokens.auth_token is None:
        return None
    if not world.fake.is_live(account.tokens.refresh_token):
        record = world.fake.ledger.find(account.tokens.refresh_token, Kind.REFRESH)
        if record is not None and record.end is None:
            return None  # it ran out by the clock
        if _is_in_doubt(world, login, account):
            return None
        return "its refresh token is dead, and nobody noticed"
    if not is_good(account.tokens, now, world.choices.policy) and not _too_many(world, login):
        turn = world.choices.policy.min_interval * len(login.account_ids)
        waits = account.due_at is not None and now < account.due_at <= now + turn
        return None if waits else "its access token is not fresh"
    if account.due_at is not None and account.due_at < now - timedelta(seconds=world.choices.deadline * 8):
        return "it is due, and nobody comes"
    return None


def _is_in_doubt(world: "World", login: FakeLogin, account: Account) -> bool:
    """Whether it is known that nobody knows: the next exchange, when the account is due, finds out."""
    kept = world.memory._kept[login.id]
    return account.unknown_since is not None or kept.owner is not None


def _too_many(world: "World", login: FakeLogin) -> bool:
    """Whether its accounts, one at a time, take longer than a token lives."""
    lifetime = login.options.access_lifetime
    turn = max(world.choices.policy.min_interval, world.choices.policy.poll)
    return lifetime is not None and len(login.account_ids) > 1 and turn * len(login.account_ids) > lifetime / 3


def _parked_rightly(world: "World", login: FakeLogin, account: Account) -> str | None:
    """It was refused good tokens by a fault, or its token is dead for another reason that is known."""
    if not world.fake.is_live(account.tokens.refresh_token):
        record = world.fake.ledger.find(account.tokens.refresh_token, Kind.REFRESH)
        if record is not None and record.end is None:
            return None  # it ran out by the clock
        by = world.judge.spent_by.get(account.tokens.refresh_token or "")
        if by is not None and world.judge.excuse(by) is not None:
            return None
        return f"its token is dead ({None if record is None else record.end}), for no reason that is known"
    if login.options.delayed and world.choices.jumps:
        return None  # the clock said that it may be exchanged
    refused = any(
        sent.login == login.id and sent.record is not None and (sent.record.fault or "").startswith(REFUSING)
        for sent in world.judge.sent
    )
    return None if refused else f"its token is live, and nobody refused it ({account.reason})"


def _nothing_dropped(world: "World") -> None:
    """Every new pair is in the store, or was at some time; else nobody could have it, or a crash cut it off."""
    judge = world.judge
    for sent in judge.sent:
        if not sent.successors or set(sent.successors) & judge.stored:
            continue
        if judge.loop._now - sent.arrived < judge.deadline * 2 and sent.host not in judge.loop.dead:
            continue  # it is on its way
        why = judge.excuse(sent)
        judge.covered["new pairs that nobody has"] += 1
        judge.covered[f"new pairs that nobody has: {why}"] += 1
        if why is None and not judge.lenient and not unknowable(judge.fake, sent.login):
            judge.violated(f"a new pair of {sent.login}, that {sent.host} brought at {sent.arrived:.3f}, was dropped")
