"""What runs that were cut off have left: looked for before anything is sent, finished where it is safe, or named."""

import os
import re
from pathlib import Path

from mesh_refresh.cli.lines import Failure, say, shown, system_reason
from mesh_refresh.cli.refresh.documents import text_of
from mesh_refresh.cli.refresh.journal import Leftover, journal_path, read_leftover
from mesh_refresh.cli.refresh.output_file import OutputFile, refused


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
    left = read_leftover(file.path)
    if left is not None:
        try:
            _finish(left, file)
        except BaseException:
            left.close()
            raise
        torn = left.remove()
        if left.has_news:
            say(f"an earlier run was cut off; what it had renewed is now in {shown(file.path)}.")
        if torn is not None:
            say(f"The end of its journal cannot be read, and is kept in {shown(torn)}: a new token may be in it.")
    _remove_copies(file)
    return left is not None and left.has_news


def refuse_unfinished(source: Path) -> None:
    """Raises `Failure` where an earlier run had renewed what is in `source`, and was cut off before it was written."""
    left = read_leftover(source)
    if left is None:
        return
    left.close()
    if left.has_news:
        raise Failure(
            f"The tokens in the input are spent: an earlier run was cut off, and {shown(left.path)} has the new ones. "
            "Nothing was sent. Make the input the --output too: then they are written there first."
        )


def _finish(left: Leftover, file: OutputFile) -> None:
    text, content = text_of(left.documents), file.content()
    if not left.has_news or content == text:
        return
    name = shown(journal_path(file.path))
    if not left.belongs_to(content):
        raise Failure(
            f"An earlier run was cut off, and --output has changed since. {name} has what that run renewed: take it "
            "from there, then remove that file. Nothing was sent."
        )
    try:
        file.replace(text)
    except OSError as error:
        why = system_reason(error)
        raise Failure(
            f"An earlier run was cut off, and what it renewed cannot be written to --output ({why}). It is in {name}. "
            "Nothing was sent."
        ) from None


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
