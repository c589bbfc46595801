"""The accounts of the demo, as a view shows them."""

import time
from enum import Enum

from attrs import define, field

from mesh_refresh import Tokens
from mesh_refresh.testing import FakeLogin, FakeMesh


class Mood(Enum):
    """How a state looks."""

    WAITING = "dim"
    BUSY = "cyan"
    WARNING = "yellow"
    GOOD = "green"
    BAD = "red"


@define(eq=False)
class Row:
    """One account, and what is told of it."""

    tokens: Tokens
    login: FakeLogin
    note: str
    """What is special about it."""
    state: str = "waiting"
    mood: Mood = Mood.WAITING
    began: float | None = None
    ended: float | None = None
    shares: bool = False
    """Another row counts its login's requests."""
    saved_late: bool = False
    """Its caller was cancelled, and on_outcome saved it."""
    asked_again: bool = False
    """No answer came the first time."""

    @property
    def account(self) -> str:
        """Its number among those of its broker."""
        return str(self.tokens.ref).rpartition("/")[2]

    @property
    def seconds(self) -> float | None:
        """How long it took, or has taken until now."""
        return None if self.began is None else (self.ended or time.monotonic()) - self.began

    def say(self, state: str, mood: Mood = Mood.BUSY) -> None:
        """It goes on."""
        self.began = self.began or time.monotonic()
        self.state, self.mood = state, mood

    def end(self, state: str, mood: Mood = Mood.GOOD) -> None:
        """It is over."""
        self.say(state, mood)
        self.ended = time.monotonic()


@define(eq=False)
class Board:
    """All rows, and the fake that knows what really happened."""

    fake: FakeMesh
    rows: list[Row] = field(factory=list)

    def attempts(self, row: Row) -> int:
        """How many requests of its login have come in."""
        return sum(request.login == row.login.id for request in self.fake.requests)

    def state(self, row: Row) -> tuple[str, Mood]:
        """What to show of it: what the client keeps to itself, such as a pause that Mesh asked for, the fake knows."""
        if row.mood is Mood.BUSY:
            last = next((it for it in reversed(self.fake.requests) if it.login == row.login.id), None)
            if last is not None and last.done and last.status == 429:
                return "told to slow down: waits as Retry-After says", Mood.WARNING
            if last is not None and last.done and last.status == 503:
                return "Mesh is down for a moment: waits, sends again", Mood.WARNING
        return row.state, row.mood
