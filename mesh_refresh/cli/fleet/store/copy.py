"""``mesh-refresh copy``."""

from collections.abc import Callable
from datetime import UTC, timedelta
from typing import TypedDict

import click
from attrs import define, evolve, field

from mesh_refresh import MeshRefreshError, Tokens
from mesh_refresh.cli.fleet.store.two_stores import TwoStores, name_some
from mesh_refresh.cli.fleet.support import open_fleet
from mesh_refresh.cli.fleet.support.options import parse_duration
from mesh_refresh.cli.fleet.support.store_location import KEYS_VARIABLE, StoreLocation
from mesh_refresh.cli.own_app import OwnApp, app_option
from mesh_refresh.cli.terminal.exit_codes import COPY, Exit, exit_for, list_exits
from mesh_refresh.cli.terminal.loop import Loop
from mesh_refresh.cli.terminal.messages import Failure, format_count, one_line, say
from mesh_refresh.cli.terminal.questions import YES, confirm
from mesh_refresh.keeper import App, Copied, Policy, TakenBack, copy_fleet, take_back
from mesh_refresh.stores.store import ALL_BROKERS

TO_KEYS_VARIABLE = "MESH_REFRESH_TO_KEYS"

_PROGRESS = 20_000
_SAME = timedelta(seconds=5)
_WAITING = " Waiting: a worker holds their lease, or the outcome of their last exchange is still unknown."

_TAKEN = "Logins already taken back stay in FROM. Run it again for the rest."

_EPILOG = f"""
FROM and TO are the path of an SQLite file, or a URL that begins with
postgresql://. Both open with {KEYS_VARIABLE}, unless {TO_KEYS_VARIABLE}
has other keys for TO.

\b
To move a fleet without stopping it:
  1. mesh-refresh migrate --store TO       (PostgreSQL only)
  2. start workers on TO; let your services ask a keeper on TO first, and a
     keeper on FROM for logins that TO does not have
  3. mesh-refresh copy FROM TO
  4. stop the workers on FROM, and run copy again: it moves what arrived since

The way back is "copy TO FROM". If TO is lost, run "copy --take-back FROM TO": logins
that TO does not have return to FROM with their tokens from before the move, which
may be spent. Stop the workers on TO first, for good.

\b
Exit codes:
{list_exits(COPY)}"""


@click.command(epilog=_EPILOG, short_help="Move every login to another store, while workers run on both.")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option("--take-back", "back", is_flag=True, help="TO is lost: return the logins that moved there to FROM.")
@YES
@click.option("--no-wait", is_flag=True, help="Skip logins that cannot be moved yet, instead of waiting for them.")
@click.option("--lease", type=parse_duration, help="As the workers on FROM have it.  [default: 3m]")
@click.option("--resend-after", type=parse_duration, help="As the workers on FROM have it.  [default: 2m]")
@click.option("--from-plaintext", is_flag=True, help="FROM is not sealed.")
@click.option("--to-plaintext", is_flag=True, help="Do not seal TO: its file or tables show the tokens.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
@app_option
def copy(
    source: str,
    target: str,
    lease: timedelta | None,
    resend_after: timedelta | None,
    app: OwnApp,
    *,
    back: bool,
    yes: bool,
    no_wait: bool,
    from_plaintext: bool,
    to_plaintext: bool,
    quiet: bool,
) -> int:
    """Move every login from one store to another, while workers run on both. No token is written to another file.

    The command says what it will do, and asks. It waits for logins that a worker holds, and for those whose last
    exchange has an unknown outcome. It can be interrupted and run again at any point. FROM keeps each login, marked as
    moved to TO. Brokers that are paused in FROM are paused in TO too, until you resume them there.
    """
    if back and no_wait:
        raise click.UsageError("--take-back never waits. Leave out --no-wait.")
    places = (
        StoreLocation(source, from_plaintext, named_by="FROM"),
        StoreLocation(target, to_plaintext, TO_KEYS_VARIABLE, "TO"),
    )
    if source == target or places[0].is_same_file(places[1]):
        raise click.UsageError("FROM and TO are the same store.")
    options, progress = {"lease": lease, "resend_after": resend_after}, _Progress(quiet=quiet)
    open_fleet.make_policy(options)  # a wrong option is an error before anything is made
    with Loop(on_impatience=lambda: say("still finishing the logins under way")) as loop:
        try:
            own = app.make(loop) or App()
            policy, mesh = open_fleet.make_policy(options, own.policy), open_fleet.make_idle_client(own)
            rules = _Rules(policy=policy, may_resend=mesh.may_resend, credential=mesh.credential)
            with TwoStores(*places, loop) as stores:
                stores.keep(mesh)
                if back:
                    return _return_logins(stores, rules, yes=yes, quiet=quiet)
                return _move_logins(stores, rules, progress, yes=yes, wait=not no_wait)
        except KeyboardInterrupt:
            text = f"interrupted. {_TAKEN if back else f'{progress.so_far()}{progress.describe_end()}'}"
            raise Failure(text, loop.exit_code) from None


class _Rules(TypedDict):
    """How the keepers judge tokens."""

    policy: Policy
    may_resend: Callable[[Tokens], bool]
    credential: Callable[[Tokens], str | None]


def _move_logins(stores: TwoStores, rules: _Rules, progress: "_Progress", *, yes: bool, wait: bool) -> int:
    stores.look()
    if not yes:
        confirm(f"{stores.plan()} Go on?", otherwise="nothing was moved.")
    target = stores.make_target()
    try:
        done = stores.loop.run(copy_fleet(stores.source, target, wait=wait, on_progress=progress, **rules))
    except MeshRefreshError as error:
        raise Failure(f"{error} {progress.describe_end()}", exit_for(error)) from None
    if not progress.quiet or done.left or done.unreadable:
        say(_describe(done))
    if done.paused:
        names = ", ".join("all together" if broker == ALL_BROKERS else one_line(broker) for broker in done.paused)
        say(f"paused in TO as in FROM: {names}. `mesh-refresh resume` ends a pause.")
    for login_id in done.unreadable[:20]:
        say(f"cannot be read, and was not moved: {one_line(login_id)}")
    name_some(done.gone, "at home in TO before, and no longer there: removed, or TO was restored from a backup")
    name_some(done.elsewhere, "moved to a third store before, and not in TO")
    if done.elsewhere.number:
        say("name that store as TO; if it is lost, run `mesh-refresh copy --take-back FROM TO`.")
    if done.unreadable or done.elsewhere.number:
        return Exit.STORE
    return Exit.TRY_AGAIN if done.left else Exit.REFRESHED


def _return_logins(stores: TwoStores, rules: _Rules, *, yes: bool, quiet: bool) -> int:
    stores.look(lost=True)
    if not yes:
        confirm(f"{stores.plan_back()} Go on?", otherwise="nothing was taken back.")
    try:
        done: TakenBack = stores.loop.run(take_back(stores.source, stores.target, **rules))
    except MeshRefreshError as error:
        raise Failure(f"{error} {_TAKEN}", exit_for(error)) from None
    if not quiet or done.held.number or done.unreadable.number:
        unknown = ", as after an exchange with an unknown outcome" if done.taken else ""
        say(f"{format_count(done.taken, 'login')} taken back{unknown}.")
    name_some(done.held, "in TO, and not taken back (`mesh-refresh copy TO FROM` moves logins back)")
    name_some(done.unreadable, "cannot be read with these keys, and not changed")
    return Exit.STORE if done.held.number or done.unreadable.number else Exit.REFRESHED


@define
class _Progress:
    """Says how far a copy has come: `copy_fleet` calls it after each step."""

    quiet: bool
    latest: Copied = field(factory=Copied)
    _told: Copied = field(factory=Copied, init=False)

    def __call__(self, done: Copied) -> None:
        self.latest = done
        if not self.quiet and (self._is_other_wait(done) if done.waits else done.moved - self._told.moved >= _PROGRESS):
            self._told = done
            say(f"{_describe(done)}{_WAITING if done.waits else ''}")

    def _is_other_wait(self, done: Copied) -> bool:
        """Whether `done` differs from what was said. The ends of leases differ by milliseconds in each look."""
        told = self._told
        if evolve(done, until=None) != evolve(told, until=None):
            return True
        if done.until is None or told.until is None:
            return done.until is not told.until
        return abs(done.until - told.until) > _SAME

    def describe_end(self) -> str:
        """What an early end means for the logins."""
        if not self._is_any:
            return "Nothing was moved by this run."
        return "Moved logins stay in TO. Run it again for the rest."

    def so_far(self) -> str:
        """How far the copy came; empty if it moved nothing."""
        return f"{_describe(self.latest)} " if self._is_any else ""

    @property
    def _is_any(self) -> bool:
        return bool(self.latest.moved or self.latest.taken_over)


def _describe(done: Copied) -> str:
    if not (done.moved or done.taken_over or done.left):
        return "nothing was moved." if done.gone.number or done.elsewhere.number else "there was nothing to move."
    parts = [f"{format_count(done.moved, 'login')} moved"]
    if done.taken_over:
        parts.append(f"new tokens of {done.taken_over} moved before were taken over")
    if done.left:
        until = f", the last of them until about {done.until.astimezone(UTC):%H:%M:%S}Z" if done.until else ""
        parts.append(f"{done.left} cannot be moved yet{until}")
    return ", ".join(parts) + "."
