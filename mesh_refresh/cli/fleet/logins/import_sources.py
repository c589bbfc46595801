"""Reads the files of an import line by line."""

import codecs
import io
import json
import os
import stat
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from attrs import define

from mesh_refresh import InvalidRequest
from mesh_refresh.cli.fleet.logins.import_csv import read_rows
from mesh_refresh.cli.fleet.logins.import_entries import BadLine, InputLine, Reading, parse_json, read_entries
from mesh_refresh.cli.terminal.messages import Failure, say, system_reason

_LONGEST = 16 * 1024 * 1024
"""Bytes of one line, or of a file that is one document and not lines."""
_CHUNK = 64 * 1024


@contextmanager
def open_source(name: str, number: int | None = None) -> Generator[BinaryIO]:
    """Open a file, or standard input for ``-``; `number` is its place among several. Raises `Failure`, without a name.

    The name is not shown: a token may stand there by mistake.
    """
    if name == "-":
        if sys.stdin is None:
            raise Failure("Standard input is closed. Name a FILE.")
        yield sys.stdin.buffer
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115 - an error of the block must not be taken for one of the opening
    except OSError as error:
        which = "The file" if number is None else f"File {number}"
        raise Failure(f"{which} cannot be read: {system_reason(error)}.") from None
    with file:
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077 and os.name == "posix":
            which = "the input file" if number is None else f"input file {number}"
            say(f"note: other users can read {which}: chmod 600 it.")
        yield file


class Recoded:
    """A UTF-16 or UTF-32 file, as PowerShell writes it, read as UTF-8. Raises `Failure` where it is not one."""

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
        return self._take(min(end, limit) if end else limit)

    def read(self, limit: int) -> bytes:
        """The next `limit` bytes, or all there are."""
        while len(self._read_ahead) < limit and not self._ended:
            self._read_more()
        return self._take(limit)

    def _take(self, size: int) -> bytes:
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
        raise Failure("A file begins like UTF-16 or UTF-32 text, and is not. Save it as UTF-8.")


def _decode(file: BinaryIO | Recoded) -> BinaryIO | Recoded:
    if not isinstance(file, io.BufferedReader):
        return file
    encoding = json.detect_encoding(file.peek(4)[:4])
    return file if encoding == "utf-8" else Recoded(file, encoding)


def read_csv(file: BinaryIO | Recoded, reading: Reading, *, first: int = 1) -> Iterator[InputLine | BadLine]:
    """The logins in the rows of `file`, from line number `first` on. Raises `Failure`, as `read_lines` does."""
    lines = _Lines(_decode(file))
    yield from read_rows(iter(lines), reading, say, first=first)
    lines.check_reached(first)


def read_lines(file: BinaryIO | Recoded, reading: Reading, *, first: int = 1) -> Iterator[InputLine | BadLine]:
    """The logins in the lines of `file`, from line number `first` on. Empty lines are skipped.

    A file that is one JSON document over many lines, as `mesh-refresh refresh` writes it, is read as a whole. Raises
    `Failure` for a file that is too long, or shorter than `first` lines.
    """
    lines = _Lines(_decode(file))
    for number, text in enumerate(lines, 1):
        if number < first or not text.strip():
            continue
        try:
            document = parse_json(text)
        except InvalidRequest as error:
            whole = _read_whole(text, lines.file) if number == 1 else None
            if whole is None:
                yield BadLine(number, str(error))
                continue
            yield from _read_items(whole, reading)
            return
        yield from read_entries(number, document, reading)
    lines.check_reached(first)


@define
class _Lines:
    """The lines of a file. Raises `Failure` for one that is too long."""

    file: BinaryIO | Recoded
    number: int = 0

    def __iter__(self) -> Iterator[bytes]:
        while text := self.file.readline(_LONGEST + 1):
            self.number += 1
            if len(text) > _LONGEST:
                raise Failure(f"Line {self.number} is longer than 16 MiB. Write one login a line.")
            yield text

    def check_reached(self, first: int) -> None:
        """Raises `Failure` where the file has no line number `first`."""
        if first > self.number + 1:
            raise Failure(f"--from-line {first} is past the end of the input, which has {self.number} lines.")


def _read_whole(text: bytes, file: BinaryIO | Recoded) -> object:
    """The document that begins with the line `text`; None if that line begins no document of many lines."""
    if text.strip() not in (b"[", b"{", b"[{"):
        return None
    text += file.read(_LONGEST)
    if file.read(1):
        raise Failure("A document of many lines is longer than 16 MiB. Write one JSON object a line.")
    try:
        return parse_json(text)
    except InvalidRequest:
        raise Failure("A file begins like a JSON document of many lines, and is not JSON.") from None


def _read_items(document: object, reading: Reading) -> Iterator[InputLine | BadLine]:
    for number, item in enumerate(document if isinstance(document, list) else [document], 1):
        yield from read_entries(number, item, reading)
