"""Checking the request that a strategy built, before any I/O. Pure.

A strategy may be the user's. An error in a request has to be found before the token is spent.
"""

import asyncio
import inspect
from collections.abc import Callable

from mesh_refresh.enums import BrokerType
from mesh_refresh.errors import InvalidRequest, MeshRefreshError
from mesh_refresh.messages import RefreshRequest
from mesh_refresh.validation import wrong_broker, wrong_metadata, wrong_text

_TEXTS = ("type", "refresh_token", "access_token", "trade_token", "mfa_code")


def built(build: Callable[[], object]) -> RefreshRequest:
    """The request that `build` returns. Raises `InvalidRequest` where `build` raises, or the request cannot be sent.

    The error names the wrong field and does not show its value.
    """
    try:
        request = build()
        wrong = _wrong_request(request)
    except MeshRefreshError:
        raise
    except (Exception, asyncio.CancelledError) as error:  # nothing is awaited here: no task was cancelled
        what = f"The strategy raised {type(error).__name__}, and built no request; nothing was sent."
        raise InvalidRequest(what) from error
    if wrong is None and isinstance(request, RefreshRequest):
        return request
    raise InvalidRequest(f"The strategy built {wrong}; nothing was sent.")


def _wrong_request(request: object) -> str | None:
    """What is wrong with `request`, as the rest of a sentence; None where nothing is."""
    if not isinstance(request, RefreshRequest):
        if inspect.iscoroutine(request):
            request.close()  # Python would warn that it is never awaited
        return f"no RefreshRequest, but {type(request).__name__}"
    # Of any type: type checkers believe the declaration.
    refresh_token: object = request.refresh_token
    create: object = request.create_new_refresh_token
    if type(request.type) is BrokerType and create is None and request.metadata is None and refresh_token is not None:
        texts: tuple[object, ...] = (refresh_token, request.access_token, request.trade_token, request.mfa_code)
        if all([text is None or (isinstance(text, str) and text.isascii()) for text in texts]):
            return None  # the common case, quickly: every refresh comes here
    wrong = (
        (wrong_broker(request.type) and "type must be a BrokerType or another non-empty string")
        or (not isinstance(refresh_token, str) and "refresh_token must be a string")
        or (not (create is None or isinstance(create, bool)) and "create_new_refresh_token must be a bool or None")
        or next(filter(None, (wrong_text(name, getattr(request, name)) for name in _TEXTS)), None)
        or (request.metadata is not None and wrong_metadata(request.metadata))
    )
    return f"a request that cannot be sent: {wrong.rstrip('.')}" if wrong else None
