"""The command line in this process, and in others, against a FakeMesh in a thread."""

import asyncio
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from attrs import define, field, frozen

from mesh_refresh import Tokens
from mesh_refresh.cli import main
from mesh_refresh.testing import FakeLogin, FakeMesh, Gate


@define
class Served:
    """A FakeMesh that runs beside the test."""

    fake: FakeMesh
    loop: asyncio.AbstractEventLoop

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run it in the fake's loop, and wait for it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(90)

    def release(self, gate: Gate) -> None:
        self.loop.call_soon_threadsafe(gate.release)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "MESH_BASE_URL": self.fake.base_url,
            "MESH_CLIENT_ID": self.fake.client_id,
            "MESH_CLIENT_SECRET": self.fake.client_secret,
        }

    def lost(self, *files: Path) -> list[Any]:
        """What is lost if `files` are all that is held."""
        return self.fake.lost(tokens for file in files for tokens in held(json.loads(file.read_text())))


@pytest.fixture
def served() -> Iterator[Served]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    fake = FakeMesh()
    fake.client_secret = "a-secret-for-the-test"
    served = Served(fake, loop)
    served.wait(fake.start())
    yield served
    served.wait(fake.stop())
    loop.call_soon_threadsafe(loop.stop)
    thread.join(90)
    loop.close()


@frozen
class Ran:
    """How a run of the command ended."""

    code: int
    out: str
    err: str

    @property
    def documents(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.out)
        return found


class Process(subprocess.Popen[str]):
    """One that a failing test does not wait for."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.kill()
        super().__exit__(kind, error, trace)


@define
class Cli:
    """``mesh-refresh`` in this process."""

    served: Served
    folder: Path
    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch
    runs: list[Ran] = field(factory=list)

    def __call__(self, *arguments: str | Path, stdin: str | bytes | None = b"") -> Ran:
        """`stdin`: what is there to read; None where it is closed."""
        text = stdin.encode() if isinstance(stdin, str) else stdin
        self.monkeypatch.setattr(sys, "stdin", None if text is None else io.TextIOWrapper(io.BytesIO(text)))
        self.monkeypatch.setattr(sys, "argv", ["mesh-refresh", *map(str, arguments)])
        code = main()
        captured = self.capsys.readouterr()
        ran = Ran(int(code), captured.out, captured.err)
        self.runs.append(ran)
        self.check_leaks(ran)
        return ran

    def check_leaks(self, ran: Ran) -> None:
        """No secret on standard error; on standard output only in the documents."""
        secrets = [*self.served.fake.ledger.tokens, self.served.fake.client_secret]
        assert not [secret for secret in secrets if secret in ran.err]
        assert "Traceback" not in ran.err
        assert self.served.fake.client_secret not in ran.out
        assert "\x1b" not in ran.out + ran.err

    def write(self, name: str, value: object) -> Path:
        """A file with `value` as JSON, for its owner only."""
        path = self.folder / name
        path.write_text(value if isinstance(value, str) else json.dumps(value))
        path.chmod(0o600)
        return path

    def payload(self, *logins: FakeLogin) -> Path:
        """What Link handed over for `logins`, in a file."""
        payloads = [login.link_payload() for login in logins]
        return self.write("payload.json", payloads[0] if len(payloads) == 1 else payloads)

    def documents(self, *tokens: Tokens) -> Path:
        return self.write("tokens.json", [item.to_document() for item in tokens])

    def start(self, *arguments: str | Path, **options: Any) -> Process:
        """``mesh-refresh`` in a process of its own, without a terminal."""
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        return Process(
            [sys.executable, "-m", "mesh_refresh", *map(str, arguments)],
            text=True,
            start_new_session=True,
            cwd=self.folder,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(sys.path),
                "TERM": "xterm-256color",
                "PYTHONFAULTHANDLER": "1",
            },
            **options,
        )


@pytest.fixture
def cli(served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    for name in ("MESH_MFA_CODE", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in served.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return Cli(served, tmp_path, capsys, monkeypatch)


def held(documents: list[dict[str, Any]]) -> list[Tokens]:
    """The tokens in an output."""
    return [Tokens.from_document(document.get("tokens", document)) for document in documents]


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777
