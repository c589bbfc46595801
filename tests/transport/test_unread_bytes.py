"""Bytes that have arrived and that the event loop has not read: they are in the kernel when a request goes out."""

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from mesh_refresh import MeshClient, Refreshed, RetryPolicy, Tokens, UnreadableReply

ONCE = RetryPolicy(max_requests=1)


def reply_to(token: str) -> bytes:
    pair = {"accessToken": f"fake-access-after-{token}", "refreshToken": f"fake-refresh-after-{token}"}
    body = json.dumps({"status": "ok", "content": {"status": "succeeded", "brokerAccountTokens": [pair]}}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


class Server:
    """Answers each request on its own threads; what is to come behind a reply, `send` writes when it is told to."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.connections: list[socket.socket] = []

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        came = b""
        with suppress(OSError):  # the test is over
            while data := connection.recv(65_536):
                came += data
                if (found := re.search(rb'"refreshToken":"([^"]+)"', came)) is not None:
                    connection.sendall(reply_to(found[1].decode()))
                    came = b""

    def send(self, data: bytes) -> None:
        """Send on the first connection, and be sure that it has arrived: loopback delivers before it returns."""
        self.connections[0].sendall(data)

    def close(self) -> None:
        self.listener.close()
        for connection in self.connections:
            connection.close()


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.listener.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


@pytest.mark.parametrize("stray", [reply_to("a-stranger"), b"HTTP/1.1 408 Request Timeout\r\n\r\n", b"x"])
async def test_what_the_loop_has_not_read(stray: bytes) -> None:
    """A connection with anything to read is not written to; what is there goes to whom it served last."""
    told: list[object] = []
    with serving() as server:
        async with MeshClient("id", "fake", base_url=server.url, retry=ONCE, on_outcome=told.append) as mesh:
            await mesh.refresh(Tokens("coinbase", "fake-anna", ref="anna"))
            server.send(stray)  # in the loop's own thread: nothing is read before the next line
            outcome = await mesh.refresh(Tokens("coinbase", "fake-ben", ref="ben"))
        assert isinstance(outcome, Refreshed)
        assert outcome.tokens.access_token == "fake-access-after-fake-ben"
        assert len(server.connections) == 2
    kept = [it.before.ref for it in told if isinstance(it, UnreadableReply)]
    assert kept == (["anna"] if b"stranger" in stray else [])


async def test_a_connection_that_was_closed_meanwhile() -> None:
    """A server that has closed an idle connection costs nothing: the next request has another one."""
    with serving() as server:
        async with MeshClient("id", "fake", base_url=server.url, retry=ONCE) as mesh:
            await mesh.refresh(Tokens("coinbase", "fake-anna"))
            server.connections[0].shutdown(socket.SHUT_RDWR)
            assert isinstance(await mesh.refresh(Tokens("coinbase", "fake-ben")), Refreshed)
        assert len(server.connections) == 2
