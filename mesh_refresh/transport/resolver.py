"""Looking up the addresses of host names, once at a time for each name."""

import asyncio
import socket

from aiohttp.abc import AbstractResolver, ResolveResult


class SharedResolver(AbstractResolver):
    """Shares one look-up among all connections that wait for the same name. Caches nothing.

    Look-ups run in the loop's default executor. A caller that is cancelled does not end the look-up for the others.
    There is no task that a shutdown could cancel: after that, aiohttp's own cache never looks up the name again.
    """

    def __init__(self) -> None:
        self._running: dict[tuple[str, int, int], asyncio.Future[list[ResolveResult]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of `host`. Raises `OSError` where it has none, `UnicodeError` where it cannot be a name."""
        key = (host, port, int(family))
        running = self._running.get(key)
        if running is None:
            running = asyncio.get_running_loop().run_in_executor(None, _look_up, host, port, family)
            self._running[key] = running
            running.add_done_callback(lambda _: self._running.pop(key, None))
        return list(await asyncio.shield(running))

    async def close(self) -> None:
        """Nothing to close."""


def _look_up(host: str, port: int, family: int) -> list[ResolveResult]:
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    results: list[ResolveResult] = []
    for kind, _, protocol, _, address in found:
        numeric = str(address[0])
        if kind == socket.AF_INET6:
            if len(address) < 4:
                continue  # a Python without IPv6
            if address[3]:  # a link-local address is good with its scope only
                numeric, _ = socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        results.append(
            ResolveResult(
                hostname=host, host=numeric, port=int(address[1]), family=kind, proto=protocol, flags=int(flags)
            )
        )
    if not results:
        raise OSError("the name has no address that can be used")  # aiohttp would find that out by an assertion
    return results
