"""``--app MODULE:FACTORY``: the user's own parts for a command. No error shows the text of an exception of theirs."""

import asyncio
import inspect
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Awaitable, Callable
from contextlib import redirect_stdout, suppress
from functools import reduce, wraps
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from mesh_refresh.cli.terminal.loop import Loop
from mesh_refresh.cli.terminal.messages import Failure
from mesh_refresh.errors import MeshRefreshError

if TYPE_CHECKING:
    from mesh_refresh.keeper import App  # `refresh` without --app starts faster without the keeper

_NAME = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_FORM = re.compile(f"({_NAME}):({_NAME})")


@frozen
class OwnApp:
    """The function that makes an `App`, found and not called yet."""

    name: str = ""
    """MODULE:FACTORY, for messages. Empty: there is no --app."""
    factory: Callable[[], object] | None = None

    def make(self, loop: Loop) -> "App | None":
        """The app; None without --app. An async factory runs in `loop`. Raises `Failure`."""
        if self.factory is None:
            return None
        from mesh_refresh.keeper import App  # noqa: PLC0415 - as above

        made = _call(self.factory)
        if inspect.isawaitable(made):
            made = loop.run(_outcome_of(made))
        if isinstance(made, BaseException):
            raise Failure(f"--app: {self.name} raised {_describe(made)}. Nothing was sent.") from None
        if not isinstance(made, App):
            raise Failure(f"--app: {self.name} returned {_kind(made)}, and not an App of mesh_refresh.keeper.")
        return made


NO_APP = OwnApp()


def app_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds ``--app``. The command gets an `OwnApp` as `app` in its place."""

    @wraps(command)
    def with_app(*arguments: Any, app: str | None, **others: Any) -> Any:
        return command(*arguments, app=NO_APP if app is None else find_app(app), **others)

    return click.option(
        "--app",
        metavar="MODULE:FACTORY",
        help="Use strategies and other parts of your own: those of the App that this function of yours returns.",
    )(with_app)


def find_app(text: str) -> OwnApp:
    """The function that `text` names, MODULE:FACTORY. Its module is imported. Raises `Failure`.

    The current folder is searched last, and not at all where Python was told so (``PYTHONSAFEPATH``).
    """
    form = _FORM.fullmatch(text)
    if form is None or form[1].endswith(".py"):
        raise Failure("--app takes MODULE:FACTORY, a module as Python imports it and a function in it: fleet:make_app.")
    if not sys.flags.safe_path:
        with suppress(OSError):  # the current folder was deleted
            if (here := os.getcwd()) not in sys.path:  # noqa: PTH109 - entries of sys.path are text
                sys.path.append(here)
    module = _import(form[1])
    factory = _call(lambda: reduce(getattr, form[2].split("."), module))
    if isinstance(factory, BaseException):
        where = getattr(module, "__file__", None) or "which is no file"
        raise Failure(f"--app: the module {form[1]} ({where}) has no {form[2]}.")
    if not callable(factory):
        raise Failure(f"--app: {text} is {_kind(factory)}, and no function that returns an App.")
    with suppress(ValueError):  # of some built-in functions it is not known
        try:
            inspect.signature(factory).bind()
        except TypeError:
            raise Failure(f"--app: {text} wants arguments. It is called without any.") from None
    return OwnApp(text, factory)


def _import(name: str) -> object:
    module = _call(lambda: import_module(name))
    if isinstance(module, ModuleNotFoundError) and module.name is not None and f"{name}.".startswith(f"{module.name}."):
        where = "on Python's path" if sys.flags.safe_path else "on Python's path or in the current folder"
        raise Failure(f"--app: there is no module {module.name} {where}.")
    if isinstance(module, ModuleNotFoundError) and module.name is not None:
        raise Failure(f"--app: the module {name} imports {module.name}, and there is no such module.")
    if isinstance(module, BaseException):
        raise Failure(f"--app: importing the module {name} raised {_describe(module)}.")
    return module


def _call(call: Callable[[], object]) -> object:
    """What `call` gives or raises. What it prints goes to standard error: standard output is the command's."""
    try:
        with redirect_stdout(sys.stderr):
            return call()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - code of the user's may raise anything, SystemExit too
        return error


async def _outcome_of(made: Awaitable[object]) -> object:
    try:
        with redirect_stdout(sys.stderr):
            return await made
    except (asyncio.CancelledError, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001 - as above
        return error


def _describe(error: BaseException) -> str:
    """The class and the place, in the user's own code where it comes from there. The text may hold a secret."""
    if isinstance(error, MeshRefreshError):
        return f"{type(error).__name__}: {str(error).rstrip('.')}"
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"{type(error).__name__} at {Path(error.filename).name}:{error.lineno}"
    frames = [it for it in traceback.extract_tb(error.__traceback__) if it.filename != __file__]
    of_python = (sysconfig.get_path("stdlib"), "<")
    own = [frame for frame in frames if not frame.filename.startswith(of_python)] or frames
    where = f" at {Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
    return f"{type(error).__name__}{where}"


def _kind(value: object) -> str:
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
