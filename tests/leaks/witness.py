"""Looks at everything that a log, an error tracker or a debugger would show, for secrets that were planted."""

import asyncio
import copy
import inspect
import logging
import pickle
import re
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from mesh_refresh import Tokens
from tests.leaks import trackers

MARK = "cAnArY"
"""Stands at both ends of every planted secret."""


def planted(name: str) -> str:
    """A secret that cannot be anything else, long enough to be cut by whoever shortens what he shows."""
    return f"{MARK}-{name}-{'0123456789' * 12}-{MARK}"


KEYS = {"client id": "not-a-secret-id", "client secret": planted("client-secret")}
TOKENS = Tokens(
    "weBull",
    planted("refresh"),
    access_token=planted("access"),
    trade_token=planted("trade"),
    token_id=planted("token-id"),
    metadata={"region": planted("metadata")},
    account_id="A",
    ref="user-7",
)


class _Kept(logging.Handler):
    def __init__(self, witness: "Witness") -> None:
        super().__init__(logging.DEBUG)
        self._witness = witness
        self.setFormatter(logging.Formatter("%(name)s %(message)s %(args)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self._witness.saw("log", f"{self.format(record)} {record.args!r}")
        if record.name.startswith("mesh_refresh"):
            for place, text in trackers.frames_of(inspect.currentframe()):
                self._witness.saw(f"log, locals of {place}", text)
        if record.exc_info and record.exc_info[1] is not None:
            self._witness.look_at_error(record.exc_info[1], "logged error")


class Witness:
    """Sees texts, and says which of them hold a secret."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, str]] = []
        self.secrets: set[str] = {MARK}

    def also(self, *secrets: str | None) -> None:
        """Search for these too: what a fake server made."""
        self.secrets.update(secret for secret in secrets if secret)

    def saw(self, where: str, text: str) -> None:
        """Keep a text for the search."""
        self.texts.append((where, text))

    def look_at(self, value: object, where: str = "value") -> None:
        """An object as a log line or a debugger shows it."""
        name = f"{where} {type(value).__name__}"
        self.saw(f"{name} repr", repr(value))
        self.saw(f"{name} str", f"{value} {value!s}")
        if isinstance(value, BaseException):
            self.look_at_error(value, name)

    def look_inside(self, value: object, where: str) -> None:
        """The attributes of an object of ours, each by its repr."""
        slots = {
            slot: getattr(value, slot, None) for cls in type(value).__mro__ for slot in getattr(cls, "__slots__", ())
        }
        for name, item in {**slots, **getattr(value, "__dict__", {})}.items():
            self.saw(f"{where}.{name}", repr(item))

    def look_at_error(self, error: BaseException, where: str) -> None:
        """An error: its text, arguments and chain, its traceback with locals, its pickle and its copies."""
        self.saw(f"{where} rendered", "".join(traceback.format_exception(error)))
        for link in _chain(error):
            self.saw(f"{where} in chain", f"{link!r} {link} {link.args!r}")
            for place, text in trackers.all_of(link):
                self.saw(f"{where} {place}", text)
            if type(link).__module__.startswith("mesh_refresh"):
                self._copies(link, where)

    def look_at_context(self, context: dict[str, Any]) -> None:
        """What the loop reports: an error that nobody retrieved, say."""
        self.saw("loop's exception handler", repr(context))
        if isinstance(error := context.get("exception"), BaseException):
            self.look_at_error(error, "error of the loop's")

    def _copies(self, error: BaseException, where: str) -> None:
        packed = pickle.dumps(error)
        self.saw(f"{where} pickle", packed.decode("latin-1"))
        for other in (pickle.loads(packed), copy.copy(error), copy.deepcopy(error)):  # noqa: S301 - our own
            assert type(other) is type(error)
            assert str(other) == str(error)
            self.saw(f"{where} copy", f"{other!r} {other.args!r}")

    @property
    def found(self) -> list[str]:
        """Where a secret can be read, once for each place."""
        pattern = re.compile(
            "|".join(rf"(?<![\w.]){re.escape(s)}(?!\w)" if len(s) < 8 else re.escape(s) for s in self.secrets)
        )
        places: dict[str, None] = {}
        for where, text in self.texts:
            if hit := pattern.search(text):
                places[f"{where}: ...{text[max(0, hit.start() - 60) : hit.start() + 30]}..."] = None
        return list(places)


def _chain(error: BaseException | None, seen: frozenset[int] = frozenset()) -> Iterator[BaseException]:
    if error is not None and id(error) not in seen:
        seen |= {id(error)}
        yield error
        for other in (error.__cause__, error.__context__):
            yield from _chain(other, seen)


@contextmanager
def watching(witness: Witness) -> Iterator[Witness]:
    """All logging at DEBUG, asyncio's of every handle and task too, all warnings, and whatever the loop reports."""
    loop = asyncio.get_running_loop()
    root, handler = logging.getLogger(), _Kept(witness)
    level, debug, slow = root.level, loop.get_debug(), loop.slow_callback_duration
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    loop.set_debug(True)
    loop.slow_callback_duration = 0
    loop.set_exception_handler(lambda _, context: witness.look_at_context(context))
    # Of the stack of a handle, which a debugging loop keeps, it shows the innermost frame: the others take time only.
    shown = patch("asyncio.constants.DEBUG_STACK_DEPTH", 1)
    try:
        with shown, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield witness
        for warning in caught:
            witness.saw("warning", f"{warning.message} {warning.source!r}")
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        loop.set_debug(debug)
        loop.slow_callback_duration = slow
        loop.set_exception_handler(None)


async def outcome_of(call: Any) -> Any:
    """The result of an awaitable, or the error that it raised."""
    try:
        return await call
    except Exception as error:  # noqa: BLE001 - whatever it is, it is looked at
        return error
