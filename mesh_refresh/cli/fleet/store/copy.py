"""``mesh-refresh copy``."""

from datetime import UTC, timedelta

import click
from attrs import define, evolve, field

from mesh_refresh import MeshRefreshError
from mesh_refresh.cli.fleet.store.two_stores import TwoStores, name_some
from mesh_refresh.cli.fleet.support import open_fleet
from mesh_refresh.cli.fleet.support.options import duration
from mesh_refresh.cli.fleet.support.store_location import KEYS_VARIABLE, StoreLocation
from mesh_refresh.cli.terminal.exit_codes import OF_A_COPY, Exit, exit_for, listed
from mesh_refresh.cli.terminal.loop import Loop
from mesh_refresh.cli.terminal.messages import Failure, counted, one_line, say
from mesh_refresh.cli.terminal.questions import YES, agree
from mesh_refresh.keeper import Copied, Policy, TakenBack, copy_fleet, take_back
from mesh_refresh.stores.store import ALL_BROKERS

TO_KEYS_VARIABLE = "MESH_REFRESH_TO_KEYS"

_PROGRESS = 20_000
_SAME = timedelta(seconds=5)
_WAITING = " Waiting: a worker has them, or it is not known yet what came of their last exchange."

_TAKEN = "What was taken back is at home in FROM; run it again for the rest."

_EPILOG = f"""\b
FROM and TO are stores as --store takes them: the path of an SQLite file, or a URL
that begins with postgresql://. Both open with {KEYS_VARIABLE}, unless TO has
keys of its own in {TO_KEYS_VARIABLE}.

\b
How to move a fleet without stopping it:
  1. mesh-refresh migrate --store TO       (PostgreSQL)
  2. start workers on TO, and let your services ask a keeper on TO first and one
     on FROM where TO has no such login
  3. mesh-refresh copy FROM TO
  4. stop the workers on FROM, and run copy once more: it takes over what still came
The way back is "copy TO FROM". Where TO is lost, it is "copy --take-back FROM TO":
each login that TO does not hold is at home in FROM again, with the tokens of before
the move, which may be spent. End the workers on TO first, for good.

\b
Exit codes:
{listed(OF_A_COPY)}"""


@click.command(epilog=_EPILOG, short_help="Move every login to another store, while workers run on both.")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option("--take-back", "back", is_flag=True, help="TO is lost: make the logins that went there at home in FROM.")
@YES
@click.option("--no-wait", is_flag=True, help="Leave what cannot be moved yet, instead of waiting for it.")
@click.option("--lease", type=duration, help="As the workers on FROM have it.  [default: 3m]")
@click.option("--resend-after", type=duration, help="As the workers on FROM have it.  [default: 2m]")
@click.option("--from-plaintext", is_flag=True, help="FROM is not sealed.")
@click.option("--to-plaintext", is_flag=True, help="TO is not to be sealed: its file or tables show the tokens.")
@click.option("-q", "--quiet", is_flag=True, help="Say only what went wrong.")
def copy(
    source: str,
    target: str,
    lease: timedelta | None,
    resend_after: timedelta | None,
    *,
    back: bool,
    yes: bool,
    no_wait: bool,
    from_plaintext: bool,
    to_plaintext: bool,
    quiet: bool,
) -> int:
    """Move every login from one store to another, login by login, while workers run on both. No token is in a file.

    It says first what it will do, and asks. A login that a worker is at work on, or of which it is not known yet what
    became of its last exchange, is waited for. It can be interrupted and begun again at any point. What is in FROM
    stays there, marked as moved to TO. Brokers that are paused in FROM are paused in TO, until you resume them there.
    """
    if back and no_wait:
        raise click.UsageError("--take-back waits for nothing: leave out --no-wait.")
    places = (
        StoreLocation(source, from_plaintext, named_by="FROM"),
        StoreLocation(target, to_plaintext, TO_KEYS_VARIABLE, "TO"),
    )
    if source == target or places[0].is_same_file(places[1]):
        raise click.UsageError("FROM and TO are the same store.")
    policy, progress = open_fleet.policy(lease=lease, resend_after=resend_after), _Progress(quiet=quiet)
    with Loop(on_impatience=lambda: say("still finishing the logins that are under way")) as loop:
        try:
            with TwoStores(*places, loop) as stores:
                if back:
                    return _take_back(stores, policy, yes=yes, quiet=quiet)
                return _copy(stores, policy, progress, yes=yes, wait=not no_wait)
        except KeyboardInterrupt:
            text = f"interrupted. {_TAKEN if back else f'{progress.so_far()}{progress.standing()}'}"
            raise Failure(text, loop.exit_code) from None


def _copy(stores: TwoStores, policy: Policy, progress: "_Progress", *, yes: bool, wait: bool) -> int:
    stores.look()
    if not yes:
        agree(f"{stores.plan()} Go on?", yes=yes, otherwise="nothing was moved.")
    target = stores.made_target()
    try:
        done = stores.loop.run(copy_fleet(stores.source, target, policy=policy, wait=wait, on_progress=progress))
    except MeshRefreshError as error:
        raise Failure(f"{error} {progress.standing()}", exit_for(error)) from None
    if not progress.quiet or done.left or done.unreadable:
        say(_sentence(done))
    if done.paused:
        names = ", ".join("all together" if broker == ALL_BROKERS else one_line(broker) for broker in done.paused)
        say(f"paused in TO as in FROM: {names}. `mesh-refresh resume` ends that.")
    for login_id in done.unreadable[:20]:
        say(f"it stays where it is, and was not moved: {one_line(login_id)}")
    name_some(done.gone, "moved to TO before, and not in it: removed there, or TO was restored from an older backup")
    name_some(done.elsewhere, "moved to another store before, which is not TO, and TO does not have it")
    if done.elsewhere.number:
        say("name the store that they went to; where it is lost, `mesh-refresh copy --take-back FROM TO`.")
    if done.unreadable or done.elsewhere.number:
        return Exit.STORE
    return Exit.TRY_AGAIN if done.left else Exit.REFRESHED


def _take_back(stores: TwoStores, policy: Policy, *, yes: bool, quiet: bool) -> int:
    stores.look(lost=True)
    if not yes:
        agree(f"{stores.plan_back()} Go on?", yes=yes, otherwise="nothing was taken back.")
    try:
        done: TakenBack = stores.loop.run(take_back(stores.source, stores.target, policy=policy))
    except MeshRefreshError as error:
        raise Failure(f"{error} {_TAKEN}", exit_for(error)) from None
    if not quiet or done.held.number or done.unreadable.number:
        say(f"{counted(done.taken, 'login')} taken back, each as after an exchange of which the end is not known.")
    name_some(done.held, "in TO, and left there: `mesh-refresh copy TO FROM` moves it")
    name_some(done.unreadable, "left as it is, since it cannot be read with these keys")
    return Exit.STORE if done.held.number or done.unreadable.number else Exit.REFRESHED


@define
class _Progress:
    """How far it is, and what of that was said."""

    quiet: bool
    latest: Copied = field(factory=Copied)
    _told: Copied = field(factory=Copied, init=False)

    def __call__(self, done: Copied) -> None:
        self.latest = done
        if not self.quiet and (self._is_other_wait(done) if done.waits else done.moved - self._told.moved >= _PROGRESS):
            self._told = done
            say(f"{_sentence(done)}{_WAITING if done.waits else ''}")

    def _is_other_wait(self, done: Copied) -> bool:
        """It looks every few seconds, and each time the ends of the leases are told anew, by milliseconds off."""
        told = self._told
        if evolve(done, until=None) != evolve(told, until=None):
            return True
        if done.until is None or told.until is None:
            return done.until is not told.until
        return abs(done.until - told.until) > _SAME

    def standing(self) -> str:
        """What to make of an end that came early."""
        if not self._is_any:
            return "Nothing was moved by this run."
        return "What was moved is moved; run it again for the rest."

    def so_far(self) -> str:
        """How far it came, if anywhere."""
        return f"{_sentence(self.latest)} " if self._is_any else ""

    @property
    def _is_any(self) -> bool:
        return bool(self.latest.moved or self.latest.taken_over)


def _sentence(done: Copied) -> str:
    if not (done.moved or done.taken_over or done.left):
        return "nothing was moved." if done.gone.number or done.elsewhere.number else "there was nothing to move."
    parts = [f"{counted(done.moved, 'login')} moved"]
    if done.taken_over:
        parts.append(f"news of {done.taken_over} moved before taken over")
    if done.left:
        until = f", the last of them perhaps at {done.until.astimezone(UTC):%H:%M:%S}Z" if done.until else ""
        parts.append(f"{done.left} cannot be moved yet{until}")
    return ", ".join(parts) + "."
