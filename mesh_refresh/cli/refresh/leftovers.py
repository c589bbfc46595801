"""Finishes or reports what an interrupted run has left, before anything is sent."""

import json
import os
from contextlib import suppress
from pathlib import Path

from mesh_refresh.cli.refresh.documents import text_of
from mesh_refresh.cli.refresh.journal import Leftover, journal_path, read_leftover
from mesh_refresh.cli.refresh.output_file import OutputFile, refused
from mesh_refresh.cli.terminal.messages import Failure, format_path, say, system_reason


def prepare(file: OutputFile, *, may_replace: bool) -> None:
    """Finish an interrupted earlier run, and try `file` out. Raises `Failure` if it cannot be the output."""
    try:
        _prepare(file, may_replace=may_replace)
    except OSError as error:
        raise refused(error) from None


def _prepare(file: OutputFile, *, may_replace: bool) -> None:
    has_finished = finish_earlier_run(file)
    if not file.in_place and has_finished:
        raise Failure(
            "Nothing was sent. If that run had the same input, the tokens in the input are spent: use the file of "
            "--output as the input too."
        )
    if not (file.in_place or may_replace) and file.size:
        raise Failure(
            "--output exists, and may hold the only copy of live tokens. Nothing was sent. If an earlier run wrote it "
            "from this input, the tokens in the input are spent: use that file as the input too. Else name a new "
            "file, or replace it with --overwrite."
        )
    file.try_out()


def finish_earlier_run(file: OutputFile) -> bool:
    """Write the new tokens of an interrupted run into `file`. Whether there were any.

    Raises `Failure` if that is not possible; the message names the files that the run has left.
    """
    left, is_finished = read_leftover(file.path), False
    if left is not None:
        try:
            is_finished = _finish(left, file)
        except BaseException:
            left.close()
            raise
        torn = left.remove()
        if left.place is not None:
            with suppress(OSError):
                os.unlink(left.place)
        if is_finished:
            say(f"an earlier run was interrupted; its new tokens are now in {format_path(file.path)}.")
        if torn is not None:
            say(f"The end of its journal cannot be read. It is kept in {format_path(torn)}, and may hold a new token.")
    _remove_copies(file)
    return is_finished


def refuse_unfinished(source: Path) -> None:
    """Raises `Failure` if the tokens in `source` are spent: an interrupted run has left new ones in its journal."""
    left = read_leftover(source)
    if left is None:
        return
    left.close()
    if left.has_news:
        where = format_path(left.path) if left.place is None else left.place
        raise Failure(
            f"The tokens in the input are spent: an earlier run was interrupted, and the new ones are in {where}. "
            "Nothing was sent. Use the input as --output too: the new tokens are written there first."
        )


def _finish(left: Leftover, file: OutputFile) -> bool:
    """Write the new tokens of the run. Whether there were any."""
    if not left.has_news:
        return False
    content, name = file.content(), format_path(journal_path(file.path))
    if left.place is not None and not left.belongs_to(content) and not os.path.exists(left.place):
        return False  # a person has taken the tokens from there, as the message said
    text = text_of(left.documents) if left.place is None else _text_at(left.place, name)
    if content == text:
        return False
    if not left.belongs_to(content):
        where = name if left.place is None else left.place
        raise Failure(
            f"An earlier run was interrupted, and --output has changed since. Nothing was sent. The new tokens of that "
            f"run are in {where}: take them from there, then remove {name}."
        )
    try:
        file.replace(text)
    except OSError as error:
        why = system_reason(error)
        raise Failure(
            f"An earlier run was interrupted, and its new tokens cannot be written to --output ({why}). Nothing was "
            f"sent. They are in {name}: make --output writable, and run it again."
        ) from None
    return True


def _text_at(place: str, journal: str) -> bytes:
    """The file that an earlier run wrote in place of the output. Raises `Failure` if a person has to look at it."""
    text, documents = b"", None
    try:
        with open(place, "rb") as file:
            text = file.read()
        documents = json.loads(text)
    except (OSError, ValueError):
        pass  # the error follows
    if not isinstance(documents, list) or any(
        document.get("format") == "mesh_refresh.unreadable" for document in documents
    ):
        raise Failure(
            f"The tokens in --output are spent: an earlier run could not write the new ones there, and put them on "
            f"{place}. Nothing was sent. Take them from there, then remove {journal}."
        )
    return text


def _remove_copies(file: OutputFile) -> None:
    """Remove temporary files of interrupted runs whose content the output has; name the others."""
    for path in file.copies():
        try:
            with open(path, "rb") as copy:
                is_known = file.content().startswith(copy.read())
            if is_known:
                os.unlink(path)
            else:
                say(f"note: {format_path(path)} is left of an interrupted run, and differs from --output: check it.")
        except OSError:
            continue  # it is gone, or belongs to another user
