"""``mesh-refresh refresh``."""

import logging
import os
import sys
from contextlib import ExitStack, closing
from datetime import datetime, timedelta
from pathlib import Path

import click

from mesh_refresh import SANDBOX_URL, InvalidRequest, MeshClient, RetryPolicy
from mesh_refresh.cli.own_app import OwnApp, app_option
from mesh_refresh.cli.refresh.documents import read_accounts
from mesh_refresh.cli.refresh.leftovers import prepare, refuse_unfinished
from mesh_refresh.cli.refresh.output import Output
from mesh_refresh.cli.refresh.output_file import OutputFile
from mesh_refresh.cli.refresh.session import RefreshRun
from mesh_refresh.cli.refresh.source import STANDARD_INPUT, Source, read_standard_input
from mesh_refresh.cli.terminal.closed_output import ClosedOutput
from mesh_refresh.cli.terminal.exit_codes import REFRESH, list_exits
from mesh_refresh.cli.terminal.loop import Loop
from mesh_refresh.cli.terminal.messages import Failure, say, system_reason
from mesh_refresh.cli.terminal.mfa_codes import CODE_VARIABLE, code_source
from mesh_refresh.client.options import ClientOptions, registry_of
from mesh_refresh.masking import MaskedBytes
from mesh_refresh.protocols import credential_of

_WAITING = "still waiting for replies; that can take a minute."

_EPILOG = f"""\b
Examples:
  mesh-refresh refresh payload.json -o tokens.json   a payload of Link
  mesh-refresh refresh tokens.json -o tokens.json    in place, again and again
  vault read tokens | mesh-refresh refresh - | vault write tokens

The output is a JSON array with a document for each account. It can be the next
input: it has new tokens for the refreshed accounts, and the others unchanged.
Without new tokens nothing is written. A file is replaced at the end, as a whole and
with mode 0600. Until then a journal beside it has the new tokens, and after a crash
the next run finishes the output. Standard output gets everything at the end.

\b
Environment:
  MESH_CLIENT_ID       your client id
  MESH_CLIENT_SECRET   your client secret; or a file with it, which
                       MESH_CLIENT_SECRET_FILE names
  MESH_BASE_URL        the URL of Mesh; production if it is not set
  {CODE_VARIABLE}        an MFA code, in place of the prompt

Exit codes. With several accounts the highest of 2 to 11 counts, which is about one account. Others may have been
refreshed: go on with the output, which has them.

\b
""" + list_exits(REFRESH)


@click.command(epilog=_EPILOG, short_help="Refresh tokens through Mesh, with your own keys.")
@click.argument("files", metavar="[FILE|-]", nargs=-1)
@click.option("-o", "--output", metavar="FILE", help="Write the tokens to FILE, not to standard output.")
@click.option("--overwrite", is_flag=True, help="Let --output replace a file that is not the input.")
@click.option(
    "--new-refresh-token",
    is_flag=True,
    help="Also ask for a new refresh token (TD Ameritrade: before the old one expires).",
)
@click.option("--new-code", is_flag=True, help="Drop the continuations of the input: the broker asks for a new code.")
@click.option("--code-stdin", is_flag=True, help="Read MFA codes from standard input, one line for each question.")
@click.option("--no-prompt", is_flag=True, help="Never prompt for a code.")
@click.option("--sandbox", is_flag=True, help="Use the sandbox of Mesh, not production.")
@click.option("--base-url", metavar="URL", help="The URL of Mesh, in place of MESH_BASE_URL.")
@click.option(
    "--obtained-at",
    metavar="TIME",
    help="When Link gave the payload (ISO 8601, with an offset): lifetimes count from then.  [default: when FILE was "
    "last written, or now]",
)
@click.option(
    "--max-requests",
    type=click.IntRange(1, 20),
    default=3,
    show_default=True,
    help="At most this many requests for an account.",
)
@click.option(
    "--deadline", type=click.IntRange(1, 600), default=60, show_default=True, help="Seconds for all of them together."
)
@click.option("-q", "--quiet", is_flag=True, help="Print errors and warnings only.")
@app_option
def refresh(  # noqa: PLR0917 - click passes by name
    files: tuple[str, ...],
    output: str | None,
    sandbox: bool,  # noqa: FBT001 - click passes by name
    base_url: str | None,
    obtained_at: str | None,
    max_requests: int,
    deadline: int,
    app: OwnApp,
    **flags: bool,
) -> int:
    """Refresh tokens through Mesh: those in a Link payload, in the output of this command, or in an array of these.

    It reads FILE or standard input. If the broker wants an MFA code, the command asks for it.
    """
    name = _source_name(files, code_stdin=flags["code_stdin"])
    path = None if output in (None, "-") else _path(str(output))
    retry = RetryPolicy(max_requests=max_requests, deadline=timedelta(seconds=deadline))
    moment = _parse_time(obtained_at)
    url = _choose_url(base_url, sandbox=sandbox)
    codes = code_source(from_stdin=flags["code_stdin"], prompt=not flags["no_prompt"])
    if path is None and isinstance(sys.stdout, ClosedOutput):
        raise Failure("Standard output is closed. Nothing was sent. Give --output: else the new tokens would be lost.")

    logging.getLogger("mesh_refresh").addHandler(logging.NullHandler())  # the messages of the command say it all

    # Every error that can be found in advance is found before anything is sent.
    with ExitStack() as stack:
        loop = stack.enter_context(Loop(on_impatience=lambda: say(_WAITING)))
        try:
            own = app.make(loop)
            registry = registry_of(None if own is None else own.strategies)
            source = None if name is None else stack.enter_context(closing(Source.open(name)))
            file = None if path is None else stack.enter_context(closing(OutputFile.claim(path, source)))
            if file is not None:
                prepare(file, may_replace=flags["overwrite"])
            if source is not None and source.is_ordinary and (file is None or not file.in_place):
                refuse_unfinished(source.path)
            text, written_at = _read(source, file)
            accounts = read_accounts(
                text, moment or written_at, lambda tokens: credential_of(registry[tokens.broker], tokens)
            )
            if flags["new_code"]:
                accounts.forget_continuations()
            out = stack.enter_context(closing(Output(accounts, file)))
            options = ClientOptions(retry=retry, on_outcome=out.keep, strategies=registry)
            if own is not None:
                options["transport"], options["observer"] = own.transport, own.observer
            client = _make_client(url, options)
            out.begin()
        except KeyboardInterrupt:
            return loop.exit_code
        except OSError as error:
            raise Failure(f"The input or --output cannot be used: {system_reason(error)}. Nothing was sent.") from None
        run = RefreshRun(client, accounts, out, codes, flags["new_refresh_token"] or None, quiet=flags["quiet"])
        return run.run(loop)


def _source_name(files: tuple[str, ...], *, code_stdin: bool) -> str | None:
    """The input file; None for standard input."""
    if len(files) > 1:
        raise click.UsageError("Name one FILE.")  # the arguments are not repeated: one may be a token
    if files and files[0] not in STANDARD_INPUT:
        return files[0]
    if code_stdin:
        raise click.UsageError("--code-stdin needs a FILE: standard input cannot hold both.")
    if not files and (sys.stdin is None or sys.stdin.isatty()):
        raise click.UsageError("Name a FILE, or - for standard input.")
    return None


def _path(name: str) -> Path:
    try:
        return Path(os.path.realpath(name))
    except (OSError, ValueError):
        raise Failure("--output is no path. Nothing was sent.") from None


def _read(source: Source | None, file: OutputFile | None) -> tuple[MaskedBytes, datetime]:
    """The input, and when it was written."""
    if source is None:
        return read_standard_input()
    text, written_at = source.read()
    # In place, `prepare` may have finished an earlier run there.
    return (MaskedBytes(file.content()), written_at) if file is not None and file.in_place else (text, written_at)


def _choose_url(base_url: str | None, *, sandbox: bool) -> str | None:
    if base_url and sandbox:
        raise click.UsageError("Give --sandbox or --base-url, not both.")
    return SANDBOX_URL if sandbox else base_url


def _parse_time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise click.UsageError("--obtained-at must be a time such as 2026-11-23T16:00:00+00:00.")
    return moment


def _make_client(base_url: str | None, options: ClientOptions) -> MeshClient:
    if base_url is not None:
        options["base_url"] = base_url
    try:
        return MeshClient.from_env(**options)
    except InvalidRequest as error:
        raise Failure(f"{error} Nothing was sent.") from None
