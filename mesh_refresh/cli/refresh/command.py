"""``mesh-refresh refresh``."""

import logging
import os
import sys
from contextlib import ExitStack, closing
from datetime import datetime, timedelta
from pathlib import Path

import click

from mesh_refresh import SANDBOX_URL, InvalidRequest, MeshClient, RetryPolicy
from mesh_refresh.cli.refresh.documents import read_book
from mesh_refresh.cli.refresh.leftovers import prepare, refuse_unfinished
from mesh_refresh.cli.refresh.output import Output
from mesh_refresh.cli.refresh.output_file import OutputFile
from mesh_refresh.cli.refresh.session import RefreshRun
from mesh_refresh.cli.refresh.source import Source, is_standard_input, read_standard_input
from mesh_refresh.cli.terminal.closed_output import is_closed
from mesh_refresh.cli.terminal.exit_codes import MEANINGS, listed
from mesh_refresh.cli.terminal.messages import Failure, system_reason
from mesh_refresh.cli.terminal.mfa_codes import CODE_VARIABLE, code_source
from mesh_refresh.masking import MaskedBytes

_EPILOG = f"""\b
Examples:
  mesh-refresh refresh payload.json --output tokens.json     what Link handed over
  mesh-refresh refresh tokens.json --output tokens.json      in place, again and again
  vault read tokens | mesh-refresh refresh - | vault write tokens

\b
The output is a JSON array with a document for each account, and can be the next
input: refreshed accounts are renewed in it, the others are as they were. Where
nothing was renewed, nothing is written. A file is replaced at the end, whole or not at
all, with mode 0600; until then a journal beside it has what was renewed, and the
next run finishes it after a crash. Standard output gets all of it at the end.

\b
Environment:
  MESH_CLIENT_ID       your client id
  MESH_CLIENT_SECRET   your client secret
  MESH_BASE_URL        where Mesh is; production where it is not set
  {CODE_VARIABLE}        an MFA code, for where there is no terminal to ask at

\b
Exit codes; with several accounts, the highest of 2 to 11 counts, and is about that
account. Others may have been refreshed: go on with the output, which has them.
""" + listed(MEANINGS)


@click.command(epilog=_EPILOG, short_help="Refresh tokens at Mesh, with your own keys.")
@click.argument("files", metavar="[FILE|-]", nargs=-1)
@click.option("-o", "--output", metavar="FILE", help="Write the tokens here, not to standard output.")
@click.option("--overwrite", is_flag=True, help="Let --output replace a file other than the input.")
@click.option(
    "--new-refresh-token",
    is_flag=True,
    help="Ask for a new refresh token too (TD Ameritrade; before the old one ends).",
)
@click.option("--new-code", is_flag=True, help="Drop the input's continuations: let the broker ask for a new code.")
@click.option("--code-stdin", is_flag=True, help="Read MFA codes from standard input, one line for each question.")
@click.option("--no-prompt", is_flag=True, help="Never ask at the terminal.")
@click.option("--sandbox", is_flag=True, help="Refresh at Mesh's sandbox, not in production.")
@click.option("--base-url", metavar="URL", help="Refresh there; goes before MESH_BASE_URL.")
@click.option(
    "--obtained-at",
    metavar="TIME",
    help="When Link handed its payload over (ISO 8601, with an offset). Lifetimes count from then. "
    "Where not said: when FILE was last written, or now.",
)
@click.option(
    "--max-requests",
    type=click.IntRange(1, 20),
    default=3,
    show_default=True,
    help="Requests for an account at the most.",
)
@click.option(
    "--deadline", type=click.IntRange(1, 600), default=60, show_default=True, help="Seconds for all of them together."
)
@click.option("-q", "--quiet", is_flag=True, help="Say only what went wrong, and warnings.")
def refresh(  # noqa: PLR0917 - click passes by name
    files: tuple[str, ...],
    output: str | None,
    sandbox: bool,  # noqa: FBT001 - click passes by name
    base_url: str | None,
    obtained_at: str | None,
    max_requests: int,
    deadline: int,
    **flags: bool,
) -> int:
    """Refresh tokens at Mesh: a Link payload, what this command wrote before, or an array of such documents.

    It is read from FILE, or from standard input. Where the broker wants an MFA code, you are asked for it.
    """
    name = _source_name(files, code_stdin=flags["code_stdin"])
    path = None if output in (None, "-") else _path(str(output))
    retry = RetryPolicy(max_requests=max_requests, deadline=timedelta(seconds=deadline))
    moment = _moment(obtained_at)
    url = _base_url(base_url, sandbox=sandbox)
    codes = code_source(from_stdin=flags["code_stdin"], prompt=not flags["no_prompt"])
    if path is None and is_closed(sys.stdout):
        raise Failure("Standard output is closed, and there is no --output: the tokens would be lost.")

    logging.getLogger("mesh_refresh").addHandler(logging.NullHandler())  # the command tells of all that is logged

    # Everything that could be wrong is found before anything is sent.
    with ExitStack() as stack:
        try:
            source = None if name is None else stack.enter_context(closing(Source.open(name)))
            file = None if path is None else stack.enter_context(closing(OutputFile.claim(path, source)))
            if file is not None:
                prepare(file, may_replace=flags["overwrite"])
            if source is not None and source.is_ordinary and (file is None or not file.in_place):
                refuse_unfinished(source.path)
            text, written_at = _read(source, file)
            book = read_book(text, moment or written_at)
            if flags["new_code"]:
                book.forget_continuations()
            saver = stack.enter_context(closing(Output(book, file)))
            client = _client(url, retry, saver)
            saver.begin()
        except OSError as error:
            raise Failure(f"The files cannot be used: {system_reason(error)}. Nothing was sent.") from None
        return RefreshRun(client, book, saver, codes, flags["new_refresh_token"] or None, quiet=flags["quiet"]).run()


def _source_name(files: tuple[str, ...], *, code_stdin: bool) -> str | None:
    """The input file; None for standard input."""
    if len(files) > 1:
        raise click.UsageError("One FILE at the most.")  # which ones is not repeated: it may be a token
    if files and not is_standard_input(files[0]):
        return files[0]
    if code_stdin:
        raise click.UsageError("--code-stdin needs a FILE: standard input cannot be both.")
    if not files and (sys.stdin is None or sys.stdin.isatty()):
        raise click.UsageError("Name a FILE, or - for standard input.")
    return None


def _path(name: str) -> Path:
    try:
        return Path(os.path.realpath(name))
    except (OSError, ValueError):
        raise Failure("--output is no path.") from None


def _read(source: Source | None, file: OutputFile | None) -> tuple[MaskedBytes, datetime]:
    """The input and when it was written."""
    if source is None:
        return read_standard_input()
    text, written_at = source.read()
    # In place, an earlier run may just have been finished there.
    return (MaskedBytes(file.content()), written_at) if file is not None and file.in_place else (text, written_at)


def _base_url(base_url: str | None, *, sandbox: bool) -> str | None:
    if base_url and sandbox:
        raise click.UsageError("--sandbox and --base-url exclude each other.")
    return SANDBOX_URL if sandbox else base_url


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise click.UsageError("--obtained-at must be a time such as 2026-11-23T16:00:00+00:00.")
    return moment


def _client(base_url: str | None, retry: RetryPolicy, saver: Output) -> MeshClient:
    try:
        if base_url is not None:
            return MeshClient.from_env(retry=retry, on_outcome=saver.keep, base_url=base_url)
        return MeshClient.from_env(retry=retry, on_outcome=saver.keep)
    except InvalidRequest as error:
        raise Failure(str(error)) from None
