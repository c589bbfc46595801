"""What error trackers and renderers of tracebacks show of an error: asked of the real ones, with limits set wide.

Each gives pairs of a place and a text, for the frames that are not the user's own: those of the package, and those of
libraries below them.
"""

import json
import logging
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from types import FrameType
from typing import Any

import sentry_sdk
from rich.traceback import Traceback
from sentry_sdk import serializer
from sentry_sdk.scrubber import EventScrubber
from sentry_sdk.transport import Transport
from structlog.tracebacks import ExceptionDictTransformer

Shown = Iterator[tuple[str, str]]
Tracker = Callable[[BaseException], Shown]

LARGE = 10_000
"""Longer than any value of a test: what is cut off is not seen."""
_DEEPEST = 12
_LIBRARIES = ("/site-packages/", sysconfig.get_path("stdlib"))
_RUNNERS = ("/tests/", "/_pytest/", "/pluggy/", "/pytest_asyncio/")


def is_watched(filename: str) -> bool:
    """Whether a frame of this file may show no secret: the package's, what attrs generated for it, a library's."""
    if any(runner in filename for runner in _RUNNERS):
        return False
    return _is_ours(filename) or any(library in filename for library in _LIBRARIES)


def _is_ours(filename: str) -> bool:
    return "mesh_refresh" in filename and "/tests/" not in filename


def all_of(error: BaseException) -> Shown:
    """What each of them shows of `error`; of what it was chained to, ask again."""
    for tracker in TRACKERS:
        for where, text in tracker(error):
            yield f"{tracker.__name__}, {where}", text


def frames_of(frame: FrameType | None) -> Shown:
    """The locals of `frame` and of its callers: Sentry's `attach_stacktrace` sends them with a log line."""
    while frame is not None:
        # Not the fake server's, which runs in the same process: its frames have what it was sent.
        if _is_ours(frame.f_code.co_filename) and "/testing/" not in frame.f_code.co_filename:
            yield from _walked_frame(frame)
        frame = frame.f_back


def stdlib(error: BaseException) -> Shown:
    """`traceback` with its locals."""
    whole = traceback.TracebackException.from_exception(error, capture_locals=True)
    for frame in whole.stack:
        if is_watched(frame.filename):
            for name, text in (frame.locals or {}).items():
                yield f"{frame.name}.{name}", text


def logging_exc_info(error: BaseException) -> Shown:
    """A log line with ``exc_info``, as the root logger's own formatter writes it."""
    record = logging.LogRecord(
        "app", logging.ERROR, "app.py", 1, "failed: %r", (error,), (type(error), error, error.__traceback__)
    )
    yield "line", logging.Formatter().format(record)


def rich_locals(error: BaseException) -> Shown:
    """Rich's traceback with locals, long strings whole and cut."""
    for longest in (80, LARGE):
        trace = Traceback.extract(
            type(error), error, error.__traceback__, show_locals=True, locals_max_string=longest,
            locals_max_length=LARGE, locals_hide_dunder=False,
        )  # fmt: skip
        for frame in trace.stacks[0].frames:
            if is_watched(frame.filename):
                for name, node in (frame.locals or {}).items():
                    yield f"{frame.name}.{name}", "".join(map(str, node.iter_tokens()))


def structlog_json(error: BaseException) -> Shown:
    """structlog's dictionaries with locals, as JSON: with rich, without it, long strings whole and cut."""
    for longest in (80, LARGE):
        for use_rich in (True, False):
            to_dicts = ExceptionDictTransformer(
                show_locals=True, locals_max_length=LARGE, locals_max_string=longest, locals_hide_dunder=False,
                max_frames=LARGE, use_rich=use_rich,
            )  # fmt: skip
            first = to_dicts((type(error), error, error.__traceback__))[0]
            for frame in first["frames"]:
                if is_watched(frame["filename"]):
                    yield frame["name"], json.dumps(frame["locals"], ensure_ascii=False)


class _Kept(Transport):
    """Keeps what Sentry would send."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[dict[str, Any]] = []

    def capture_envelope(self, envelope: Any) -> None:
        self.events.append(envelope.get_event())


def _opened(kept: _Kept) -> sentry_sdk.Client:
    # Nothing is filtered by the names of variables: the values have to be safe.
    return sentry_sdk.Client(
        "https://key@sentry.invalid/1", transport=kept, default_integrations=False,
        auto_enabling_integrations=False, event_scrubber=EventScrubber(denylist=[], pii_denylist=[]),
        max_value_length=LARGE, include_source_context=False,
    )  # fmt: skip


def sentry(error: BaseException) -> Shown:
    """The event that Sentry's client sends, and its serializer without its limits on depth and breadth."""
    kept = _Kept()
    client = _opened(kept)
    with sentry_sdk.isolation_scope() as scope:
        scope.set_client(client)
        scope.capture_exception(error)
    for event in kept.events:
        for value in event["exception"]["values"]:
            for frame in (value.get("stacktrace") or {"frames": []})["frames"]:
                if is_watched(frame["abs_path"]):
                    yield frame["function"], json.dumps(frame.get("vars"), ensure_ascii=False, default=repr)
    assert kept.events, "Sentry sent nothing."
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if is_watched(frame.f_code.co_filename):
            for name, value in list(frame.f_locals.items()):
                yield f"{frame.f_code.co_qualname}.{name}", _without_limits(value)


def _without_limits(value: object, *, is_vars: bool = True) -> str:
    """What Sentry's serializer makes of `value`, as deep and as broad as it is."""
    limits = serializer.MAX_DATABAG_DEPTH, serializer.MAX_DATABAG_BREADTH
    serializer.MAX_DATABAG_DEPTH, serializer.MAX_DATABAG_BREADTH = _DEEPEST, LARGE
    try:
        shown = serializer.serialize({"extra": value}, is_vars=is_vars, max_value_length=LARGE)
    finally:
        serializer.MAX_DATABAG_DEPTH, serializer.MAX_DATABAG_BREADTH = limits
    return json.dumps(shown, ensure_ascii=False, default=repr)


def sentry_extra(value: object) -> str:
    """What Sentry shows of a value that was given as `extra`: text raw, where it does not mask itself."""
    return _without_limits(value, is_vars=False)


def walked(error: BaseException) -> Shown:
    """A tracker of no known name: it walks whatever it can, whatever its `repr` would say."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if is_watched(frame.f_code.co_filename):
            yield from _walked_frame(frame)


def _walked_frame(frame: FrameType) -> Shown:
    for name, value in list(frame.f_locals.items()):
        yield f"{frame.f_code.co_qualname}.{name}", " ".join(leaves(value))


def leaves(value: object, depth: int = 0, seen: AbstractSet[int] = frozenset()) -> Iterator[str]:
    """The reprs of everything in `value`: of mappings, sequences and sets, and of the parts of objects.

    Mappings and sequences are walked although they may mask themselves. Objects with a `repr` of their own are shown by
    that, as trackers show them.
    """
    if id(value) in seen or depth > _DEEPEST:
        return
    seen = {*seen, id(value)}
    if isinstance(value, str | bytes | bytearray):
        yield _shown(value)
    elif isinstance(value, Mapping):
        for key, item in list(value.items()):
            yield from leaves(key, depth + 1, seen)
            yield from leaves(item, depth + 1, seen)
    elif isinstance(value, list | tuple | AbstractSet):
        for item in list(value):
            yield from leaves(item, depth + 1, seen)
    else:
        yield _shown(value)
        if _is_plain(value):
            for item in parts(value).values():
                yield from leaves(item, depth + 1, seen)


def _is_plain(value: object) -> bool:
    """Whether it says nothing of itself, so that whoever wants to show it must look inside."""
    cls = type(value)
    return cls.__repr__ is object.__repr__ and "mesh_refresh" in cls.__module__


def parts(value: object) -> Mapping[str, object]:
    """The attributes of an object: its slots and what is in its `__dict__`."""
    slots = [slot for cls in type(value).__mro__ for slot in getattr(cls, "__slots__", ())]
    found = {slot: getattr(value, slot) for slot in slots if not slot.startswith("__") and hasattr(value, slot)}
    return {**found, **getattr(value, "__dict__", {})}


def _shown(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - half-made objects cannot be shown
        return f"<{type(error).__name__}>"


TRACKERS: tuple[Tracker, ...] = (
    stdlib,
    logging_exc_info,
    rich_locals,
    structlog_json,
    sentry,
    walked,
)
