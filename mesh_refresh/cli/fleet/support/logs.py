"""The log of a worker on standard error: one line for each event, as text or as JSON."""

import json
import logging
import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from mesh_refresh.cli.terminal.child import CHILD
from mesh_refresh.cli.terminal.messages import one_line

_OURS = "mesh_refresh"
_NEVER_QUIET = ("mesh_refresh.audit", "mesh_refresh.summary")
_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
"""The attributes of every record; the others were given with ``extra=``."""


@contextmanager
def logging_to_stderr(*, as_json: bool, quiet: bool) -> Generator[None]:
    """Inside, standard error gets what the process logs. Our events are at INFO, and `quiet` leaves them out.

    Lines of the audit, and summaries, are never left out. A process that another one has started names itself in each
    line.
    """
    handler, child = logging.StreamHandler(sys.stderr), CHILD.get()
    process = None if child is None else child.name
    handler.setFormatter(_Json(process) if as_json else _Text(process))
    levels = {_OURS: logging.WARNING if quiet else logging.INFO, **dict.fromkeys(_NEVER_QUIET, logging.INFO)}
    root = logging.getLogger()
    before = {name: logging.getLogger(name).level for name in levels}
    root.addHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    try:
        yield
    finally:
        root.removeHandler(handler)
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


class _Text(logging.Formatter):
    def __init__(self, process: str | None) -> None:
        super().__init__()
        self._mark = "" if process is None else f"[{process}] "

    def format(self, record: logging.LogRecord) -> str:
        facts = _facts(record)
        if "event" in facts:
            # The sentence and the time in front of it have these.
            facts = {name: value for name, value in facts.items() if name not in ("event", "login_id", "at")}
        known = " ".join(f"{name}={value}" for name, value in facts.items() if value is not None)
        when = _moment(record).strftime("%Y-%m-%dT%H:%M:%SZ")
        return one_line(f"{when} {record.levelname:<7} {self._mark}{record.getMessage()}  {known}")


class _Json(logging.Formatter):
    def __init__(self, process: str | None) -> None:
        super().__init__()
        self._mark = {} if process is None else {"process": process}

    def format(self, record: logging.LogRecord) -> str:
        known = {
            "time": _moment(record).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        return json.dumps({**_facts(record), **known, **self._mark})


def _moment(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    facts = {name: _plain(value) for name, value in vars(record).items() if name not in _STANDARD}
    if record.exc_info and record.exc_info[1] is not None:
        # The place, not the text: that may quote a token.
        error = record.exc_info[1]
        frames = traceback.extract_tb(error.__traceback__)
        facts["error"] = type(error).__name__
        facts["raised_at"] = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else None
    return facts


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, Enum):
        return value.value
    return value if isinstance(value, str | int | float | bool | None) else str(value)
