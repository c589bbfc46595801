"""``mesh-refresh health``."""

import asyncio
import json
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import click

from mesh_refresh import InvalidRequest
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.messages import Failure, one_line, system_reason
from mesh_refresh.service.web.addresses import DEFAULT_ADDRESS, UnixAddress, parse_address

_PATIENCE = 5.0
"""Seconds for all of it."""
_MOST = 64 * 1024
"""Bytes of an answer that are read."""

_EPILOG = """
It asks /livez and /readyz. For a supervisor that restarts a container whose
health check fails, use --live: it asks /livez only. A worker whose store is
away is alive and not ready, and a restart would not help it.

\b
Exit codes:
    0  alive and ready (with --live: alive)
    1  not so, or no answer within 5 seconds
    2  the command line cannot be used
"""


@click.command(epilog=_EPILOG, short_help="Ask a running worker whether it is alive and ready.")
@click.argument("url", metavar="[URL]", default=f"http://{DEFAULT_ADDRESS}")
@click.option("--live", is_flag=True, help="Ask only whether it is alive.")
def health(url: str, *, live: bool) -> int:
    """Ask the worker at URL whether it is alive and ready, and print what is wrong.

    URL is its address, such as http://127.0.0.1:8321 (the default), or as --listen has it, such as unix:PATH. Redirects
    are not followed.
    """
    base, path = _split(url)
    try:
        is_good, lines = asyncio.run(_ask(base, path, live=live))
    except TimeoutError:
        is_good, lines = False, [f"no answer within {_PATIENCE:.0f} seconds"]
    except (aiohttp.ClientError, OSError) as error:
        reason = system_reason(error) if isinstance(error, OSError) else type(error).__name__
        is_good, lines = False, [f"no answer: {reason}"]
    except _NoWorkerError as error:
        is_good, lines = False, [f"no worker answers there: {error}"]
    for line in lines:
        click.echo(one_line(line))
    return Exit.REFRESHED if is_good else Exit.FAILED


class _NoWorkerError(Exception):
    """The answer is none of ours."""


def _split(url: str) -> tuple[str, str | None]:
    """The base of the URLs to ask, and the path of a unix socket. The URL is not quoted: it may hold a password."""
    with suppress(InvalidRequest):
        address = parse_address(url)  # as --listen has it
        return (
            ("http://localhost", str(address.path)) if isinstance(address, UnixAddress) else (f"http://{address}", None)
        )
    with suppress(ValueError):
        parts = urlsplit(url)
        is_plain = not (parts.username or parts.password or parts.query or parts.fragment or parts.path.strip("/"))
        if parts.scheme in ("http", "https") and parts.hostname and is_plain and parts.port != 0:
            return f"{parts.scheme}://{parts.netloc}", None
    raise Failure(f"The URL must be an address such as http://{DEFAULT_ADDRESS}, without a path, or unix:PATH.")


async def _ask(base: str, path: str | None, *, live: bool) -> tuple[bool, list[str]]:
    """Whether all is well, and what to print."""
    connector = None if path is None else aiohttp.UnixConnector(path)
    async with asyncio.timeout(_PATIENCE), aiohttp.ClientSession(connector=connector) as session:
        alive = await _get(session, f"{base}/livez")
        is_alive = alive.get("alive") is True
        if live or not is_alive:
            return is_alive, ["alive" if is_alive else "not alive: restart it"]
        found = await _get(session, f"{base}/readyz")
    is_ready, problems = found.get("ready") is True, found.get("problems")
    told = map(str, problems) if isinstance(problems, list) else ()
    return is_ready, ["alive and ready" if is_ready else "alive, and not ready", *told]


async def _get(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    body = bytearray()
    async with session.get(url, allow_redirects=False) as reply:
        if reply.status not in (200, 503):
            raise _NoWorkerError(f"HTTP status {reply.status}")
        async for chunk in reply.content.iter_any():
            body += chunk
            if len(body) > _MOST:
                raise _NoWorkerError("the answer is too long")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _NoWorkerError("the answer is no JSON object")
    return found
