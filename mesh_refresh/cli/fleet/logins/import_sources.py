"""The files of an import, read line by line."""

import codecs
import io
import json
import os
import stat
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from mesh_refresh import InvalidRequest
from mesh_refresh.cli.fleet.logins.import_entries import BadLine, InputLine, entries, parsed
from mesh_refresh.cli.terminal.messages import Failure, say, system_reason

_LONGEST = 16 * 1024 * 1024
"""Bytes of one line, or of a file that is one document and not lines."""
_CHUNK = 64 * 1024


@contextmanager
def open_source(name: str, number: int | None = None) -> Generator[BinaryIO]:
    """A file, or standard input for ``-``, which stays open; `number` is its place among several. Raises `Failure`."""
    if name == "-":
        if sys.stdin is None:
            raise Failure("Standard input is closed.")
        yield sys.stdin.buffer
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115 - an error of the block must not be taken for one of the opening
    except OSError as error:
        # Not by its name: what stands where a file should may be a token.
        which = "The file" if number is None else f"File {number}"
        raise Failure(f"{which} cannot be read: {system_reason(error)}.") from None
    with file:
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077 and os.name == "posix":
            which = "the input file" if number is None else f"input file {number}"
            say(f"note: others can read {which}; chmod 600 it.")
        yield file


class Recoded:
    """A file in another encoding than UTF-8, as PowerShell writes it, read as UTF-8. Raises `Failure`."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._read_ahead = b""
        self._ended = False

    def readline(self, limit: int) -> bytes:
        """The next line, or the first `limit` bytes of it."""
        while b"\n" not in self._read_ahead and len(self._read_ahead) < limit and not self._ended:
            self._read_more()
        end = self._read_ahead.find(b"\n") + 1
        return self._taken(min(end, limit) if end else limit)

    def read(self, limit: int) -> bytes:
        """The next `limit` bytes, or all there are."""
        while len(self._read_ahead) < limit and not self._ended:
            self._read_more()
        return self._taken(limit)

    def _taken(self, size: int) -> bytes:
        taken, self._read_ahead = self._read_ahead[:size], self._read_ahead[size:]
        return taken

    def _read_more(self) -> None:
        data = self._file.read(_CHUNK)
        self._ended = not data
        try:
            self._read_ahead += self._decoder.decode(data, final=self._ended).encode()
        except UnicodeError:
            del data
        else:
            return
        raise Failure("A file begins like UTF-16 or UTF-32 text, and is none.")


def _in_utf8(file: BinaryIO | Recoded) -> BinaryIO | Recoded:
    if not isinstance(file, io.BufferedReader):
        return file
    encoding = json.detect_encoding(file.peek(4)[:4])
    return file if encoding == "utf-8" else Recoded(file, encoding)


def read(file: BinaryIO | Recoded, now: datetime, *, first: int = 1) -> Iterator[InputLine | BadLine]:
    """What its lines say, from line number `first` on; empty lines are passed over.

    A file that is one JSON document over many lines, as `mesh-refresh refresh` writes them, is read whole.
    """
    file = _in_utf8(file)
    number = 0
    while text := file.readline(_LONGEST + 1):
        number += 1
        if len(text) > _LONGEST:
            raise Failure(f"InputLine {number} is longer than 16 MiB: this is not a file of JSON lines.")
        if number < first or not text.strip():
            continue
        try:
            document = parsed(text)
        except InvalidRequest as error:
            whole = _whole(text, file) if number == 1 else None
            if whole is None:
                yield BadLine(number, str(error))
                continue
            yield from _numbered(whole, now)
            return
        yield from entries(number, document, now)
    if first > number + 1:
        raise Failure(f"The input has only {number} lines: --from-line {first} is past its end.")


def _whole(text: bytes, file: BinaryIO | Recoded) -> object:
    """The document that begins with the line `text`; None where there is none, and what was read is put back."""
    if text.strip() not in (b"[", b"{", b"[{"):
        return None
    text += file.read(_LONGEST)
    if file.read(1):
        raise Failure("A document of many lines is longer than 16 MiB: write one JSON object a line.")
    try:
        return parsed(text)
    except InvalidRequest:
        raise Failure("A file begins like a JSON document of many lines, and is none.") from None


def _numbered(document: object, now: datetime) -> Iterator[InputLine | BadLine]:
    for number, item in enumerate(document if isinstance(document, list) else [document], 1):
        yield from entries(number, item, now)
