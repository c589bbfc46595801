"""A server that costs as little as possible: it answers every request with the same kilobyte.

Run as a process of its own, on a core of its own: ``python -m tests.benchmarks.server CORE DELAY``. It prints
its port. It takes the fastest loop there is: a client that waits for its server is not measured.
"""

import asyncio
import json
import sys

from tests.benchmarks.cores import pin
from tests.benchmarks.loops import FASTEST, run_on

BODY = json.dumps(
    {
        "content": {
            "status": "succeeded",
            "expiresInSeconds": 86400,
            "refreshTokenExpiresInSeconds": 7776000,
            "brokerAccountTokens": [
                {
                    "account": {
                        "meshAccountId": "0f8fad5b-d9cb-469f-a165-70867728950e",
                        "accountId": "benchmark-account",
                        "accountName": "Individual",
                        "fund": 1204.55,
                        "cash": 1204.55,
                        "isReconnected": False,
                        "balances": [
                            {"symbol": "USD", "buyingPower": 1204.55, "cryptoBuyingPower": 1204.55, "cash": 1204.55}
                        ],
                    },
                    "accessToken": "benchmark-access-" + "a" * 300,
                    "refreshToken": "benchmark-refresh-" + "r" * 100,
                }
            ],
        },
        "status": "ok",
        "message": "",
        "errorHash": "9d3039e8",
        "errorType": "",
    }
).encode()
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nServer: benchmark\r\n"
    b"Date: Mon, 23 Nov 2026 12:00:00 GMT\r\nContent-Length: %d\r\n\r\n" % len(BODY)
) + BODY
_HEAD_END = b"\r\n\r\n"


class Answer(asyncio.Protocol):
    """Just enough HTTP to find the end of a request."""

    delay = 0.0
    """Seconds from a request to its answer."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(_HEAD_END)) >= 0:
            head = self.buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            whole = end + 4 + length
            if len(self.buffer) < whole:
                return
            self.buffer = self.buffer[whole:]
            if self.delay:
                self.loop.call_later(self.delay, self.transport.write, RESPONSE)  # type: ignore[attr-defined]
            else:
                self.transport.write(RESPONSE)  # type: ignore[attr-defined]


async def main(core: int, delay: float, protocol: type[Answer] = Answer) -> None:
    """Serve on `core`; on any for a negative one."""
    Answer.delay = delay
    if core >= 0:
        pin(core)
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    run_on(FASTEST, main(int(sys.argv[1]), float(sys.argv[2])))
