"""What runs that were cut off have left: looked for before anything is sent, finished where it is safe, or named."""

import json
import os
import re
from contextlib import suppress
from pathlib import Path

from mesh_refresh.cli.refresh.documents import text_of
from mesh_refresh.cli.refresh.journal import Leftover, journal_path, read_leftover
from mesh_refresh.cli.refresh.output_file import OutputFile, refused
from mesh_refresh.cli.terminal.messages import Failure, say, shown, system_reason


def prepare(file: OutputFile, *, may_replace: bool) -> None:
    """Finish what an earlier run has left, and try `file` out. Raises `Failure` where it cannot be the output."""
    try:
        _prepare(file, may_replace=may_replace)
    except OSError as error:
        raise refused(error) from None


def _prepare(file: OutputFile, *, may_replace: bool) -> None:
    has_finished = finish_earlier_run(file)
    if not file.in_place and has_finished:
        raise Failure(
            "If that run had the same input, what is in the input is spent: make --output both, the input and "
            "--output. Nothing was sent."
        )
    if not (file.in_place or may_replace) and file.content():
        raise Failure(
            "--output exists, and may hold the only copy of live tokens. If an earlier run wrote it from this "
            "input, what is in the input is spent: make that file both, the input and --output. Else name a new "
            "file, or replace it with --overwrite."
        )
    file.try_out()


def finish_earlier_run(file: OutputFile) -> bool:
    """Write into `file` what a run that was cut off had renewed. Whether there was such a run.

    Raises `Failure` where that cannot be done; the message names what the run has left.
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
            say(f"an earlier run was cut off; what it had renewed is now in {shown(file.path)}.")
        if torn is not None:
            say(f"The end of its journal cannot be read, and is kept in {shown(torn)}: a new token may be in it.")
    _remove_copies(file)
    return is_finished


def refuse_unfinished(source: Path) -> None:
    """Raises `Failure` where an earlier run had renewed what is in `source`, and was cut off before it was written."""
    left = read_leftover(source)
    if left is None:
        return
    left.close()
    if left.has_news:
        where = shown(left.path) if left.place is None else left.place
        raise Failure(
            f"The tokens in the input are spent: an earlier run was cut off, and the new ones are in {where}. "
            "Nothing was sent. Make the input the --output too: then they are written there first."
        )


def _finish(left: Leftover, file: OutputFile) -> bool:
    """Whether there was something to write."""
    if not left.has_news:
        return False
    content, name = file.content(), shown(journal_path(file.path))
    if left.place is not None and not left.belongs_to(content) and not os.path.exists(left.place):
        return False  # a person has taken the tokens from there, as they were told
    text = text_of(left.documents) if left.place is None else _text_at(left.place, name)
    if content == text:
        return False
    if not left.belongs_to(content):
        where = name if left.place is None else left.place
        raise Failure(
            f"An earlier run was cut off, and --output has changed since. {where} has what that run renewed: take it "
            f"from there, then remove {name}. Nothing was sent."
        )
    try:
        file.replace(text)
    except OSError as error:
        why = system_reason(error)
        raise Failure(
            f"An earlier run was cut off, and what it renewed cannot be written to --output ({why}). It is in {name}. "
            "Nothing was sent."
        ) from None
    return True


def _text_at(place: str, journal: str) -> bytes:
    """What an earlier run had to put into another file. Raises `Failure` where a person has to look at it."""
    text, documents = b"", None
    try:
        with open(place, "rb") as file:
            text = file.read()
        documents = json.loads(text)
    except (OSError, ValueError):
        pass  # told below
    if not isinstance(documents, list) or any(it.get("format") == "mesh_refresh.unreadable" for it in documents):
        raise Failure(
            f"The tokens in --output are spent: an earlier run could not write the new ones there, and has put them on "
            f"{place}. Take them from there, then remove {journal}. Nothing was sent."
        )
    return text


def _remove_copies(file: OutputFile) -> None:
    """Remove temporary files whose content the output has; name others, which are of no run of today."""
    content = file.content()
    pattern = re.compile(rf"\.{re.escape(file.path.name)}\.[0-9a-f]{{8}}\.new")
    for name in filter(pattern.fullmatch, os.listdir(file.path.parent)):
        path = file.path.parent / name
        try:
            with open(path, "rb") as copy:
                is_known = content.startswith(copy.read())
            if is_known:
                os.unlink(path)
            else:
                say(f"note: {shown(path)} is of a run that was cut off, and differs from --output: look at it.")
        except OSError:
            continue  # it is gone, or another user's
