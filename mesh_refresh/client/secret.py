"""Reading the client secret in force, from a callable of the user's where there is one."""

import inspect
from collections.abc import Awaitable

from mesh_refresh.client.keys import ClientSecret, check_secret_fits, checked_key
from mesh_refresh.errors import NotSent
from mesh_refresh.masking import MaskedStr
from mesh_refresh.tasks import run_foreign


async def current_secret(secret: ClientSecret, base_url: str) -> MaskedStr:
    """The secret to send now.

    Raises `NotSent` where its callable raises, and `InvalidRequest` where the callable returns what cannot be a key.
    """
    if isinstance(secret, str):
        return MaskedStr(secret)
    value: object
    try:
        # A coroutine function can be started anew if a shutdown cancels it; another callable has run already.
        value = await run_foreign(secret) if inspect.iscoroutinefunction(secret) else secret()
        if inspect.isawaitable(value):
            awaitable: Awaitable[object] = value
            value = await run_foreign(lambda: awaitable, again=False)
    except Exception as error:  # noqa: BLE001 - a callable of the user's may raise anything
        failure = NotSent(f"The client secret could not be had: its callable raised {type(error).__name__}.")
        failure.__cause__ = error
    else:
        key = MaskedStr(checked_key("client secret", MaskedStr(value) if isinstance(value, str) else value))
        check_secret_fits(base_url, key)
        return key
    raise failure
