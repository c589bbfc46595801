"""What a run has renewed so far, in a file beside ``--output``, synced before the run goes on.

To write all of the output after each outcome would take an hour for ten thousand accounts. A journal is appended to, is
replaced by the output at the end, and is all that the next run needs to finish the output of a run that was cut off.

Its first line has the documents that the run began with, and what the output held then. Each further line has the
documents of accounts that an outcome changed, by their places. A last line that is not whole is none.
"""

import errno
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any, Self

from attrs import field, frozen

from mesh_refresh.cli.refresh import files
from mesh_refresh.cli.refresh.files import Owner
from mesh_refresh.cli.terminal.messages import Failure, shown, system_reason
from mesh_refresh.fsync import sync_folder
from mesh_refresh.masking import MaskedBytes, masked, masked_size

_FORMAT = "mesh_refresh.journal"
_VERSION = 1
_BEGIN = f'{{"format":"{_FORMAT}","version":{_VERSION},'.encode()
_SPARE = 512
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Document = Mapping[str, Any]


def journal_path(output: Path) -> Path:
    """Where the journal of this output is."""
    return output.with_name(f"{output.name}.journal")


class Journal:
    """The journal of this run."""

    def __init__(self, path: Path, handle: int, content: bytes) -> None:
        self.path = path
        self._handle = handle
        self._output = _digest(content)
        self._end = 0
        self._lock = Lock()
        """One that was given up may still write."""

    @classmethod
    def begin(cls, output: Path, content: bytes, documents: list[Any], owner: Owner) -> Self:
        """A new one, for an output that has `content`. Raises `OSError`, also where there is no room for all of it."""
        path = journal_path(output)
        journal = cls(path, files.make(path, owner), content)
        try:
            line = journal._head(documents=documents)
            journal._reserve(3 * len(line) + _SPARE * (len(documents) + 8))
            journal._append(line)
            sync_folder(path.parent)
        except BaseException:
            journal.remove()
            raise
        return journal

    def append(self, changed: Iterable[tuple[int, Document | None]]) -> None:
        """Write down the documents of these places; None: there is no such account any more. Raises `OSError`."""
        line = _line({"changed": [[place, document] for place, document in changed]})
        with self._lock:
            self._append(line)

    def refer_to(self, place: str) -> None:
        """Say that all of it was put there, because neither the output nor the journal took it. Raises `OSError`."""
        line = self._head(documents=[], place=place)
        with self._lock:
            files.write(self._handle, line)
            os.ftruncate(self._handle, len(line))
            os.fsync(self._handle)

    def remove(self) -> None:
        """The output has it all."""
        files.discard(self._handle, self.path)

    def leave(self) -> None:
        """Let the next run at it."""
        files.close(self._handle)

    def _head(self, **facts: Any) -> bytes:
        return _line({"format": _FORMAT, "version": _VERSION, "output": self._output, **facts})

    def _append(self, line: bytes) -> None:
        try:
            files.write(self._handle, line, self._end)
        except BaseException:
            # What is there of it would be taken for whole lines behind a shorter one.
            os.ftruncate(self._handle, self._end)
            raise
        self._end += len(line)

    def _reserve(self, size: int) -> None:
        """A disk that is full is found before anything is sent. Not every file system can promise room."""
        if not hasattr(os, "posix_fallocate"):
            return
        try:
            os.posix_fallocate(self._handle, 0, size)
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise


@frozen
class Leftover:
    """The journal of a run that was cut off. It is locked, as the output is."""

    path: Path
    handle: int
    documents: tuple[Any, ...] = field(repr=masked)
    """What its output should hold."""
    has_news: bool
    """Whether the run had renewed anything."""
    output: str
    """The digest of what the output held when the run began."""
    place: str | None
    """Where the run has put what it renewed, where that is not here: the path of a file, or the name of a stream."""
    rest: bytes = field(repr=masked_size)
    """What cannot be read of it: perhaps a part of a token."""

    def belongs_to(self, content: bytes) -> bool:
        """Whether the output is as the run found it."""
        return _digest(content) == self.output

    def remove(self) -> Path | None:
        """The output has all of it. What cannot be read is set aside, in the file that comes back."""
        torn = None
        if self.rest.strip():
            torn = files.write_new(self.path.parent, f"{self.path.name}-torn-", ".bytes", self.rest)
        files.discard(self.handle, self.path)
        return torn

    def close(self) -> None:
        """Leave it where it is."""
        files.close(self.handle)


def read_leftover(output: Path) -> Leftover | None:
    """The journal beside `output`, where a run has left one. Raises `Failure` while that run is at work."""
    path = journal_path(output)
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Failure(f"An earlier run has left {shown(path)}, which cannot be read: {system_reason(error)}.") from None
    try:
        files.lock(handle)
        data = MaskedBytes(files.read(handle).rstrip(b"\0"))
        if not (data.startswith(_BEGIN) or _BEGIN.startswith(data)):
            raise Failure(
                f"{shown(path)} is in the way: it is no journal of this command, or of another version of it."
            )
        return _parsed(path, handle, data)
    except BaseException:
        files.close(handle)
        raise


def _parsed(path: Path, handle: int, data: bytes) -> Leftover:
    lines, begin = list[dict[str, Any]](), 0
    while (end := data.find(b"\n", begin)) >= 0 and (
        line := _read_line(data[begin:end], "changed" if lines else "documents")
    ):
        lines.append(line)
        begin = end + 1
    rest = data[begin:]
    if not lines:
        # Nothing is sent before there is one.
        return Leftover(path, handle, (), has_news=False, output="", place=None, rest=b"")
    documents = dict(enumerate(lines[0]["documents"]))
    for line in lines[1:]:
        documents.update(dict(line["changed"]))
    held = tuple(document for _, document in sorted(documents.items()) if document is not None)
    place = lines[0].get("place")
    has_news = len(lines) > 1 or place is not None
    return Leftover(path, handle, held, has_news=has_news, output=lines[0]["output"], place=place, rest=rest)


def _read_line(line: bytes, key: str) -> dict[str, Any] | None:
    """The line, which has a list under `key`; None for any other, and for a part of one."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get(key), list) else None


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
