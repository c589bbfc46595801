"""The section on the HTTP service: fresh tokens a second on one core, and ten thousand connections that say nothing."""

import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from attrs import frozen

from tests.benchmarks.cores import pin
from tests.benchmarks.figures import spread
from tests.benchmarks.grown_fleet import name_of
from tests.benchmarks.report import How, Report, Table, at_least
from tests.benchmarks.served_fleet import LOGINS

_CALLERS = 16
_SILENT = 10_000


def section(how: How) -> Report:
    """Calls from the server's core; the service has the client's."""
    rounds, each = (3, 100) if how.quick else (10, 500)
    with _served(how.client_core, how.disk) as service:
        pin(how.server_core)
        speeds = spread([service.ask(each) for _ in range(rounds + 1)][1:])  # the first one warms up
        cost = 1e6 * service.cpu() / (_CALLERS * each * (rounds + 1))
        rows = [("silent connections", service.hold_silent(_SILENT))]
    target = at_least("tokens of a fresh login over HTTP, keep-alive, c=16", 2_000, speeds, digits=0, unit="/s")
    tables = [
        Table("one core", ["CPU us a call"], [("tokens of a fresh login", [f"{cost:,.0f}"])]),
        Table(f"{_SILENT:,} at a time", ["open", "refused", "ended", "MB more", "a call ms"], rows),
    ]
    return Report(tables, [target])


@frozen
class _Service:
    process: "subprocess.Popen[str]"
    port: int
    key: str

    def ask(self, each: int) -> float:
        """Calls a second of `_CALLERS` callers, each on a connection of its own."""
        callers = [threading.Thread(target=self._call, args=(number, each)) for number in range(_CALLERS)]
        begun = time.perf_counter()
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        return _CALLERS * each / (time.perf_counter() - begun)

    def hold_silent(self, many: int) -> list[str]:
        """What becomes of `many` connections that send nothing, and of a caller beside them."""
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        before = self._resident()
        with ExitStack() as stack:
            ours = stack.enter_context(self._connect())
            _fetch(ours, self._request(0))
            silent = [stack.enter_context(self._connect()) for _ in range(many)]
            begun = time.perf_counter()
            _fetch(ours, self._request(1))
            took = time.perf_counter() - begun
            more = self._resident() - before
            fates = Counter(map(_fate, silent))
        return [*(f"{fates[fate]:,}" for fate in ("open", "503", "408")), f"{more / 1e6:.0f}", f"{1e3 * took:.0f}"]

    def cpu(self) -> float:
        """Seconds that the service has used."""
        used = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return sum(map(int, used)) / os.sysconf("SC_CLK_TCK")

    def _call(self, number: int, each: int) -> None:
        with self._connect() as sock:
            for turn in range(each):
                _fetch(sock, self._request(number * each + turn))

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def _request(self, number: int) -> bytes:
        path = f"/v1/logins/{name_of(number % LOGINS)}/tokens"
        return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self.key}\r\n\r\n".encode()

    def _resident(self) -> int:
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * resource.getpagesize()


def _fetch(sock: socket.socket, request: bytes) -> None:
    """An answer of 200, read whole."""
    sock.sendall(request)
    head, end, body = b"", b"", b""
    while not end:
        head, end, body = (head + sock.recv(65536)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    length = int(head.lower().partition(b"\r\ncontent-length: ")[2].partition(b"\r")[0])
    while len(body) < length:
        body += sock.recv(65536)


def _fate(sock: socket.socket) -> str:
    """What became of a connection that has sent nothing: ``open``, or the status with which it was ended."""
    sock.setblocking(False)
    try:
        return sock.recv(4096)[9:12].decode() or "408"
    except BlockingIOError:
        return "open"
    except ConnectionError:
        return "408"


@contextmanager
def _served(core: int, folder: Path) -> Iterator[_Service]:
    command = [sys.executable, "-m", "tests.benchmarks.served_fleet", str(core), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        port, key = process.stdout.readline().split()
        try:
            yield _Service(process, int(port), key)
        finally:
            process.stdin.close()
