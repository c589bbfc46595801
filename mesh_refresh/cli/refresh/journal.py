"""The journal beside ``--output``: new tokens are appended to it, and synced, before the run goes on.

Writing the whole output after each outcome would take an hour for ten thousand accounts. The output replaces the
journal at the end of the run. After an interrupted run, the next one finishes the output from its journal.

The first line has the documents of the input, and the digest of the output at that time. Each further line has the
documents of accounts that an outcome changed, by number. An incomplete last line does not count.
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
from mesh_refresh.cli.terminal.messages import Failure, format_path, system_reason
from mesh_refresh.files import sync_folder
from mesh_refresh.masking import MaskedBytes, masked, masked_size

_FORMAT = "mesh_refresh.journal"
_VERSION = 1
_BEGIN = f'{{"format":"{_FORMAT}","version":{_VERSION},'.encode()
_SPARE = 512
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Document = Mapping[str, Any]


def journal_path(output: Path) -> Path:
    """The path of the journal of this output."""
    return output.with_name(f"{output.name}.journal")


class Journal:
    """The journal of this run."""

    def __init__(self, path: Path, handle: int, content: bytes) -> None:
        self.path = path
        self._handle = handle
        self._output = _digest(content)
        self._end = 0
        self._lock = Lock()
        """An abandoned write may still run in its thread."""

    @classmethod
    def begin(cls, output: Path, content: bytes, documents: list[Any], owner: Owner) -> Self:
        """Begin the journal of an output that has `content`. Raises `OSError`, also if there is no room for it."""
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
        """Append the documents of accounts, by number; None: the account no longer exists. Raises `OSError`."""
        line = _line({"changed": [[place, document] for place, document in changed]})
        with self._lock:
            self._append(line)

    def refer_to(self, place: str) -> None:
        """Note that all tokens are in `place`, because output and journal took none. Raises `OSError`."""
        line = self._head(documents=[], place=place)
        with self._lock:
            files.write(self._handle, line)
            os.ftruncate(self._handle, len(line))
            os.fsync(self._handle)

    def remove(self) -> None:
        """Remove the journal: the output has everything."""
        files.discard(self._handle, self.path)

    def leave(self) -> None:
        """Leave the journal to the next run."""
        files.close(self._handle)

    def _head(self, **facts: Any) -> bytes:
        return _line({"format": _FORMAT, "version": _VERSION, "output": self._output, **facts})

    def _append(self, line: bytes) -> None:
        try:
            files.write(self._handle, line, self._end)
        except BaseException:
            # A torn line must go: behind a shorter line, its rest would look like whole lines.
            os.ftruncate(self._handle, self._end)
            raise
        self._end += len(line)

    def _reserve(self, size: int) -> None:
        """Find a full disk before anything is sent. File systems that cannot reserve room are used too."""
        if not hasattr(os, "posix_fallocate"):
            return
        try:
            os.posix_fallocate(self._handle, 0, size)
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise


@frozen
class Leftover:
    """The journal of an interrupted run. It is locked, as the output is."""

    path: Path
    handle: int
    documents: tuple[Any, ...] = field(repr=masked)
    """The documents that its output should hold."""
    has_news: bool
    """Whether the run had received new tokens."""
    output: str
    """The digest of the output when the run began."""
    place: str | None
    """Where the new tokens are, if not here: the path of a file, or the name of a stream."""
    rest: bytes = field(repr=masked_size)
    """The part that cannot be read: it may hold a part of a token."""

    def belongs_to(self, content: bytes) -> bool:
        """Whether the output is still as the run found it."""
        return _digest(content) == self.output

    def remove(self) -> Path | None:
        """Remove the journal: the output has everything. Returns the file that gets the unreadable part, or None."""
        torn = None
        if self.rest.strip():
            torn = files.write_new(self.path.parent, f"{self.path.name}-torn-", ".bytes", self.rest)
        files.discard(self.handle, self.path)
        return torn

    def close(self) -> None:
        """Leave the journal where it is."""
        files.close(self.handle)


def read_leftover(output: Path) -> Leftover | None:
    """The journal beside `output`, or None. Raises `Failure` if its run still works, or if it cannot be read."""
    path = journal_path(output)
    try:
        handle = files.open_to_read(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Failure(
            f"An earlier run has left {format_path(path)}, which cannot be read: {system_reason(error)}."
        ) from None
    try:
        files.lock(handle)
        data = MaskedBytes(files.read(handle).rstrip(b"\0"))
        if not (data.startswith(_BEGIN) or _BEGIN.startswith(data)):
            raise Failure(
                f"{format_path(path)} is in the way: it is no journal of this version. Nothing was sent. Move it away."
            )
        return _parse(path, handle, data)
    except BaseException:
        files.close(handle)
        raise


def _parse(path: Path, handle: int, data: bytes) -> Leftover:
    lines, begin = list[dict[str, Any]](), 0
    while (end := data.find(b"\n", begin)) >= 0 and (
        line := _read_line(data[begin:end], "changed" if lines else "documents")
    ):
        lines.append(line)
        begin = end + 1
    rest = data[begin:]
    if not lines:
        # A run sends nothing before the first line is written.
        return Leftover(path, handle, (), has_news=False, output="", place=None, rest=b"")
    documents = dict(enumerate(lines[0]["documents"]))
    for line in lines[1:]:
        documents.update(dict(line["changed"]))
    held = tuple(document for _, document in sorted(documents.items()) if document is not None)
    place = lines[0].get("place")
    has_news = len(lines) > 1 or place is not None
    return Leftover(path, handle, held, has_news=has_news, output=lines[0]["output"], place=place, rest=rest)


def _read_line(line: bytes, key: str) -> dict[str, Any] | None:
    """The object in `line`, if it has a list under `key`; None for any other line, and for a part of one."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get(key), list) else None


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
