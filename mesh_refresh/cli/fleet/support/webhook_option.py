"""Where a worker posts its notices: an option, and the secret in the environment."""

import os
from collections.abc import Callable
from typing import Any

import click

from mesh_refresh import InvalidRequest
from mesh_refresh.cli.terminal.messages import Failure
from mesh_refresh.files import WatchedFile
from mesh_refresh.masking import MaskedStr
from mesh_refresh.observing import Observer
from mesh_refresh.service import Webhooks
from mesh_refresh.service.webhook_secret import checked_secret

URL_VARIABLE = "MESH_REFRESH_WEBHOOK"
SECRET_VARIABLE = "MESH_REFRESH_WEBHOOK_SECRET"  # noqa: S105 - the name of a variable
FILE_VARIABLE = f"{SECRET_VARIABLE}_FILE"

webhook_option: Callable[[Any], Any] = click.option(
    "--webhook",
    metavar="URL",
    envvar=URL_VARIABLE,
    help=f"Post notices to this URL, signed with the secret in {SECRET_VARIABLE}, or in the file that {FILE_VARIABLE} "
    f"names.  [environment: {URL_VARIABLE}]",
)


def make_webhooks(url: str | None, observer: Observer | None = None) -> Webhooks | None:
    """What posts notices to `url`; None without one. Raises `Failure` for a wrong URL or secret."""
    if not url:
        return None
    secret = _read_secret()
    try:
        return Webhooks(url, secret, observer=observer)
    except InvalidRequest as error:
        raise Failure(f"--webhook: {error}") from None


def _read_secret() -> str | Callable[[], str]:
    """The secret; where it is in a file, what gives the secret that is in it now."""
    secret, path = (os.environ.get(name) for name in (SECRET_VARIABLE, FILE_VARIABLE))
    if secret and path:
        raise Failure(f"{SECRET_VARIABLE} and {FILE_VARIABLE} are both set. Leave out one of them.")
    if path:
        try:
            return WatchedFile(path, f"in {FILE_VARIABLE}", checked_secret)
        except InvalidRequest as error:
            raise Failure(str(error)) from None
    if not secret:
        raise Failure(
            f"--webhook needs a secret. Put what `mesh-refresh webhooks secret` prints into {SECRET_VARIABLE}, and "
            "give it to the receiver too."
        )
    return MaskedStr(secret)
