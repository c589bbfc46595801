"""The command group, and what holds for all of its commands."""

import re
import sys

import click

from mesh_refresh.cli.demo import demo
from mesh_refresh.cli.fleet import COMMANDS as FLEET
from mesh_refresh.cli.refresh import refresh
from mesh_refresh.cli.sandbox import sandbox
from mesh_refresh.cli.terminal.closed_output import writable_or_told
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.messages import Failure, bug, is_of_output, say, system_reason
from mesh_refresh.version import VERSION

_EPILOG = """\b
Start here:
  mesh-refresh demo                        see it work; needs no keys and no network
  mesh-refresh refresh --help              how to refresh your own tokens
  mesh-refresh sandbox --port 8080         a fake Mesh, for a program in any language

\b
A fleet in a store, kept fresh by a worker:
  mesh-refresh key generate                a key that seals the store
  mesh-refresh import logins.jsonl         put logins into it
  mesh-refresh run                         the worker
  mesh-refresh status                      how they are

\b
Tokens, MFA codes and the client secret are never given on the command line.
Tokens and keys are never shown, except where "refresh" writes the new tokens, "key
generate" a new key, and "salvage" a reply that could not be read.
"""

_TOLD = (
    (re.compile(r"(unexpected extra arguments?) \(.*\)", re.DOTALL), r"\1"),
    (re.compile(r"No such command '(?![\w-]{1,20}').*'", re.DOTALL), "No such command"),
)
"""As click says it, and what is left of that: it repeats what was typed, and that may be the password of a connection
string without quotes, an MFA code, or a URL in the place of a command."""


@click.group(
    invoke_without_command=True,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(VERSION, "-V", "--version", message="mesh-refresh %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Refresh brokerage and crypto tokens at Mesh, and lose none of them."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for _command in (demo, refresh, sandbox, *FLEET):
    cli.add_command(_command)


def run() -> int:
    """Run the command line, and give its exit code. Each failure is one line, without a traceback."""
    code = _run()
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
    except (OSError, ValueError):
        sys.stderr = None  # the terminal is gone: Python would flush it at its exit, fail, and end with 120
    return code


def _run() -> int:
    try:
        with writable_or_told():
            code = cli.main(prog_name="mesh-refresh", standalone_mode=False)
    except Failure as failure:
        say(str(failure))
        return failure.code
    except click.ClickException as error:
        _without_arguments(error).show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except BrokenPipeError:
        return _closed_pipe()
    except Exception as error:  # noqa: BLE001 - a traceback helps a developer; this line has what a report needs of it
        if is_of_output(error):
            return _unwritten(error)
        say(bug(error))
        return Exit.FAILED
    return int(code or 0)


def _without_arguments(error: click.ClickException) -> click.ClickException:
    """`error`, repeating none that have no place."""
    text = error.message
    for told, left in _TOLD:
        text = told.sub(left, text)
    return error if text == error.message else click.UsageError(text, getattr(error, "ctx", None))


def _closed_pipe() -> int:
    """The reader of our output (``head``, say) has gone."""
    sys.stdout = None
    return Exit.FAILED


def _unwritten(error: OSError) -> int:
    """Standard output is closed, say, or a file on a full disk. What writes to other files tells of them itself."""
    sys.stdout = None  # Python would try it once more at its exit, and complain
    say(f"The output could not be written: {system_reason(error)}. Nothing else failed: what was done stays done.")
    return Exit.FAILED
