"""Each kind of output, each trouble at each step, and what must hold afterwards."""

import json
from collections.abc import Iterator
from pathlib import Path

from attrs import define, field

from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.testing import FakeLogin, Replies, Sharing
from mesh_refresh.testing.model.holdings import Holdings
from tests.cli.conftest import Served
from tests.cli.refresh.hostile.shell import Ended, Holding, Shell, Trouble

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGALRM", "SIGUSR1", "SIGKILL")
ERRORS = ("ENOSPC", "EIO", "EROFS", "EACCES", "EINTR", "EDQUOT", "EBUSY")
OUTPUTS = ("in place", "new", "older", "link", "standard output")


@define
class Story:
    """Runs of the command on the accounts of one login."""

    served: Served
    shell: Shell
    folder: Path
    output: str = "in place"
    login: FakeLogin = field(init=False)
    source: Path = field(init=False)
    target: Path = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.folder.mkdir()
        self.login = self._login()
        self.source = self.folder / "tokens.json"
        self._write(self.source, json.dumps(self.login.link_payload()))
        self.target = self.source if self.output == "in place" else self.folder / "out.json"
        if self.output == "older":
            self._write(self.target, "[]")
        if self.output == "link":
            self.target = self.folder / "linked.json"
            (self.folder / "out.json").symlink_to("linked.json")

    @property
    def arguments(self) -> tuple[str, ...]:
        """Of the command."""
        common = ("refresh", "tokens.json", "--no-prompt", "--max-requests", "1")
        if self.output == "standard output":
            return common
        return (*common, "-o", "tokens.json" if self.output == "in place" else "out.json", "--overwrite")

    def steps(self) -> int:
        """How many calls a run without trouble makes."""
        told = self.folder / "steps"
        ended = self.shell.start(self.folder, *self.arguments, steps=told).ended()
        assert ended.code == 0, ended
        return len(told.read_text().splitlines())

    def tell(self, trouble: Trouble) -> Ended:
        """A run that meets `trouble`, and a run after it that meets none. Nothing that was on the wire is lost."""
        fake = self.served.fake
        before = len(fake.requests)
        ended = self.shell.start(self.folder, *self.arguments, trouble=trouble).ended()
        self.check(ended, sent=len(fake.requests) - before, trouble=trouble)
        took_nothing = trouble.lasts and "They are on standard output" in ended.last_line
        if self.output == "in place" and not took_nothing:
            self._check_next_run(ended)
        return ended

    def check(self, ended: Ended, *, sent: int, trouble: Trouble) -> None:
        holding = Holding(self.served.fake)
        holding.take(ended, self.target)
        lost = [it for it in holding.lost() if it.startswith(f"{self.login.id} ")]
        told = f"{trouble}: {ended}; {holding.found}; lost: {lost}"
        assert "bug" not in ended.err, told
        assert "Traceback" not in ended.err, told
        # Killed outright, a run takes the one outcome with it that it had not written down yet.
        most = 1 if trouble.what == "SIGKILL" and self.output != "standard output" else 0
        if trouble.what != "SIGKILL" or most:
            assert len(lost) <= most, told
        if ended.code == Exit.REFRESHED:
            assert sent == len(self.login.tokens), told
        if ended.code == Exit.INVALID:
            assert not sent, told
        if ended.code == Exit.REFRESHED and self.output != "standard output":
            alone = Holding(self.served.fake)
            self.served.fake.ledger.held = Holdings()
            alone.take(Ended(0, b"", ""), self.target)
            assert not [it for it in alone.lost() if it.startswith(f"{self.login.id} ")], told

    def _check_next_run(self, ended: Ended) -> None:
        """It goes on from what the run has left, and sends no token that the run saw spent."""
        fake = self.served.fake
        reuses = len(fake.reuses)
        after = self.shell.start(self.folder, *self.arguments).ended()
        most = 1 if ended.code < 0 else 0  # of an outcome that nobody has seen
        assert len(fake.reuses) - reuses <= most, (ended, after)
        assert after.code in (Exit.REFRESHED, Exit.RECONNECT) if most else after.code == Exit.REFRESHED, (ended, after)

    def _login(self) -> FakeLogin:
        return self.served.fake.login("etoro", accounts=2, sharing=Sharing.PAIR_EACH, replies_with=Replies.ASKED)

    @staticmethod
    def _write(path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o600)


def troubles(steps: int) -> Iterator[Trouble]:
    """Each trouble at each step of a run that has so many."""
    for at in range(steps):
        for name in (*SIGNALS, "short"):
            yield Trouble(at, name)
        for name in ERRORS:
            yield Trouble(at, name)
            yield Trouble(at, name, lasts=True)


def together(story: Story, runs: int) -> list[Ended]:
    """So many runs at once on the same files: one does the work, or they take turns, and none is lost."""
    reuses = len(story.served.fake.reuses)
    started = [story.shell.start(story.folder, *story.arguments) for _ in range(runs)]
    ended = [run.ended() for run in started]
    holding = Holding(story.served.fake)
    for it in ended:
        holding.take(it, story.target)
    assert {it.code for it in ended} <= {Exit.REFRESHED, Exit.TRY_AGAIN, Exit.RECONNECT}, ended
    assert Exit.REFRESHED in {it.code for it in ended}, ended
    assert not [it for it in holding.lost() if it.startswith(f"{story.login.id} ")], ended
    if story.output == "in place":
        assert len(story.served.fake.reuses) == reuses, ended
    return ended
