"""Errors as ``application/problem+json`` (RFC 9457), with a `reason` for programs."""

import json
import math
import random
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import web

PROBLEM_TYPE = "application/problem+json"

_REASONS = {
    404: "not_found",
    405: "method_not_allowed",
    408: "too_slow",
    413: "too_large",
    500: "internal",
    503: "busy",
}
"""Of what aiohttp answers by itself."""


def problem(
    status: int,
    reason: str,
    detail: str | None = None,
    *,
    retry_after: float | None = None,
    challenge: str | None = None,
    headers: Mapping[str, str] | None = None,
    **members: Any,
) -> web.Response:
    """An answer that says what went wrong.

    Args:
        status: the HTTP status.
        reason: a word in lower case and underscores, for programs.
        detail: a sentence for people. It quotes no secret, and nothing of a request.
        retry_after: seconds, for ``Retry-After``, rounded up. `jittered` spreads them.
        challenge: for ``WWW-Authenticate``.
        headers: more of them.
        members: what else programs need, as ``accountIds``.
    """
    more = {} if retry_after is None else {"Retry-After": str(max(1, math.ceil(retry_after)))}
    if challenge is not None:
        more["WWW-Authenticate"] = challenge
    return web.Response(
        status=status,
        body=write_problem(status, reason, detail=detail, **members),
        content_type=PROBLEM_TYPE,
        headers={**more, **(headers or {})},
    )


def not_started() -> web.Response:
    """The answer while the process has no keeper yet."""
    return problem(503, "not_ready", "The service is starting.", retry_after=jittered(2.0))


def write_problem(status: int, reason: str, **members: Any) -> bytes:
    """The body of such an answer. Members that are None are left out."""
    known = {"title": HTTPStatus(status).phrase, "status": status, "reason": reason, **members}
    return json.dumps({name: value for name, value in known.items() if value is not None}).encode()


def reason_of(status: int) -> str:
    """The reason of an error that aiohttp finds: it has no other words than its status."""
    return _REASONS.get(status, "invalid_request")


def jittered(seconds: float) -> float:
    """From `seconds` to twice as many, at random: callers that were refused together do not come back together."""
    return seconds * (1 + random.random())  # noqa: S311 - it spreads load
