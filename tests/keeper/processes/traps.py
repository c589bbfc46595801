"""Where a keeper process does something to itself, so that it happens at that very point and not near it."""

import json
import os
import signal
import threading
import time
from typing import Any, Literal

from attrs import define, frozen

Point = Literal["insert", "claimed", "connected", "bytes", "reply", "settle", "commit", "committed"]
"""Before a row is inserted, after a claim, with the connection in hand and before the keeper's last look, after that
look and before the bytes, with the reply read, before the new pair is given to the store, while SQLite commits it,
after that."""


@frozen
class Trap:
    """At the `after`-th time that the process comes to `point`, it sends itself `signal`."""

    point: Point
    signal: int = signal.SIGKILL
    after: int = 1
    delay: float = 0.0
    """Seconds; other threads run on meanwhile, so that a commit can be hit in its middle."""


@define
class Snare:
    """A trap in the process that it is set for."""

    trap: Trap | None
    _left: int = 0

    def __attrs_post_init__(self) -> None:
        self._left = self.trap.after if self.trap is not None else 0

    def at(self, point: Point) -> None:
        """The process is there now."""
        if self.trap is None or self.trap.point != point:
            return
        self._left -= 1
        if self._left == 0:
            tell("trap", point=point)
            if self.trap.delay:
                threading.Thread(target=self._spring, daemon=True).start()
            else:
                self._spring()

    def _spring(self) -> None:
        assert self.trap is not None
        time.sleep(self.trap.delay)
        os.kill(os.getpid(), self.trap.signal)


def tell(kind: str, **facts: Any) -> None:
    """A line for whoever started this process, written at once: a process that is killed flushes nothing."""
    os.write(1, json.dumps({"kind": kind, **facts}).encode() + b"\n")
