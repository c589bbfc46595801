"""The command group: it runs a command, and turns every error into one line and an exit code."""

import re
import sys
from importlib import import_module

import click

from mesh_refresh import MeshRefreshError
from mesh_refresh.cli.terminal.closed_output import refuse_closed_output
from mesh_refresh.cli.terminal.exit_codes import Exit, exit_for
from mesh_refresh.cli.terminal.messages import Failure, describe_bug, is_of_output, say, system_reason
from mesh_refresh.version import VERSION

import_module("rich")  # as click, of the extra `cli`: that it is missing is told before a command runs

_EPILOG = """\b
Start here:
  mesh-refresh demo                 see it work; needs no keys and no network
  mesh-refresh refresh --help       how to refresh your own tokens
  mesh-refresh sandbox              a fake Mesh, for a program in any language

\b
A fleet in a store, kept fresh by a worker:
  mesh-refresh key generate         make a key that seals the store
  mesh-refresh import logins.jsonl  put logins into the store
  mesh-refresh run                  run a worker
  mesh-refresh status               count the logins by state

No command takes tokens, MFA codes or the client secret as arguments. Only six
commands print secrets: "refresh" the new tokens, "key generate", "access add"
and "webhooks secret" a new one, "salvage" an unreadable reply, and "serve" at a
terminal an address that opens its page once.
"""

_QUOTING = (
    (re.compile(r"(unexpected extra arguments?) \(.*\)", re.DOTALL), r"\1"),
    (re.compile(r"No such command '(?![\w-]{1,20}').*'", re.DOTALL), "No such command"),
)
"""Messages of click that quote what was typed, and what is left of them. What was typed may be a secret: a part of a
connection string without quotes, an MFA code, or a URL in place of a command."""


_ALONE = ("demo", "refresh", "sandbox")
"""Commands that need nothing of a fleet's, each in a module of its name."""


class _Commands(click.Group):
    """Imports a command when it is asked for: without those of a fleet, `refresh` starts in half of the time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        self.get_command(ctx, "")
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        alone: tuple[str, ...] = (cmd_name,) if cmd_name in _ALONE else ()
        if not alone:
            from mesh_refresh.cli.fleet import COMMANDS  # noqa: PLC0415 - as above

            for command in COMMANDS:
                self.add_command(command)
            if cmd_name not in self.commands:
                alone = _ALONE  # all are listed, or one of them is proposed
        for needed in alone:
            self.add_command(getattr(import_module(f"mesh_refresh.cli.{needed}"), needed))
        return super().get_command(ctx, cmd_name)


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(VERSION, "-V", "--version", message="mesh-refresh %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Refresh brokerage and crypto tokens through Mesh, and lose none of them."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def run() -> int:
    """Run the command line. Returns its exit code. Each failure is one line, without a traceback."""
    code = _run()
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
    except (OSError, ValueError):
        sys.stderr = None  # the terminal is gone: Python would flush the stream at exit, fail, and exit with 120
    return code


def _run() -> int:
    try:
        with refuse_closed_output():
            code = cli.main(prog_name="mesh-refresh", standalone_mode=False)
    except Failure as failure:
        say(str(failure))
        return failure.code
    except MeshRefreshError as error:
        say(_name_options(error))
        return exit_for(error)
    except click.ClickException as error:
        _without_arguments(error).show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except BrokenPipeError:
        return _end_pipe()
    except Exception as error:  # noqa: BLE001 - one line has what a report needs, and quotes no token
        if is_of_output(error):
            return _report_output(error)
        say(describe_bug(error))
        return Exit.FAILED
    return int(code or 0)


def _name_options(error: MeshRefreshError) -> str:
    """The text of `error`, with the options of a command in place of fields: ``--lease`` for ``Policy.lease``."""
    return re.sub(r"\b(?:Retry)?Policy\.(\w+)", lambda field: f"--{field[1].replace('_', '-')}", str(error))


def _without_arguments(error: click.ClickException) -> click.ClickException:
    """`error` without a quotation of what was typed."""
    text = error.message
    for message, left in _QUOTING:
        text = message.sub(left, text)
    return error if text == error.message else click.UsageError(text, getattr(error, "ctx", None))


def _end_pipe() -> int:
    """The reader of standard output (``head``, for example) has gone."""
    sys.stdout = None
    return Exit.FAILED


def _report_output(error: OSError) -> int:
    """Standard output is closed, or a file on a full disk. Commands report errors of other files themselves."""
    sys.stdout = None  # Python would write once more at exit, and complain
    say(f"Standard output cannot be written: {system_reason(error)}. What the command has done stays done.")
    return Exit.FAILED
