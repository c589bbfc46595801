"""``os`` as the command's modules see it, where each call is a step at which anything may happen."""

import os
from collections.abc import Callable
from typing import Any

from attrs import frozen

from mesh_refresh.cli.refresh import files, journal, leftovers, output_file, rescue, source

MODULES = (files, journal, leftovers, output_file, rescue, source)
CALLS = (
    *("access", "close", "dup", "dup2", "fchmod", "fchown", "fstat", "fsync", "ftruncate", "listdir", "lseek", "open"),
    *("posix_fallocate", "read", "replace", "stat", "unlink", "utime", "write"),
)


@frozen
class Step:
    """A call that is about to be made."""

    number: int
    """Of all calls, from 0."""
    name: str
    arguments: tuple[Any, ...]

    def is_on(self, text: str) -> bool:
        """Whether one of its paths has `text` in it."""
        return any(text in os.fspath(it) for it in self.arguments if isinstance(it, str | os.PathLike))


class HostileOs:
    """Before each call `meet` is told. It may raise what the system could raise, or kill; else the call is made."""

    def __init__(self, meet: Callable[[Step], object]) -> None:
        self._meet = meet
        self._number = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(os, name)
        if name not in CALLS:
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            step = Step(self._number, name, arguments)
            self._number += 1
            told = self._meet(step)
            if name == "write" and told == "short":
                handle, data = arguments
                return os.write(handle, data[: max(1, len(data) // 2)])
            return found(*arguments, **named)

        return call


def install(meet: Callable[[Step], object], put: Callable[[object, str, object], None] = setattr) -> None:
    """From here on the command meets this one."""
    hostile = HostileOs(meet)
    for module in MODULES:
        put(module, "os", hostile)
