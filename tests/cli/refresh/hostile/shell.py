"""A shell that starts runs of ``refresh``, and what must hold after each."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from attrs import define, field, frozen

from mesh_refresh.testing import FakeMesh, LossReason

_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
ROOT = Path(__file__).parents[4]


@frozen
class Trouble:
    """What happens at one step of a run."""

    at: int | None = None
    what: str = ""
    """The name of a signal or of an errno, or "short": a write takes half of its bytes."""
    lasts: bool = False
    """Whether it happens at each step from there on."""


@frozen
class Ended:
    """How a run ended. A negative code: by that signal."""

    code: int
    out: bytes
    err: str

    @property
    def last_line(self) -> str:
        lines = self.err.splitlines()
        return lines[-1] if lines else ""


@define
class Run:
    """A run that is under way."""

    shell: "Shell"
    pid: int
    out: Path
    err: Path

    def ended(self) -> Ended:
        """Wait until it has."""
        code = int(self.shell.ask({"wait": self.pid}))
        out = self.out.read_bytes() if self.out.is_file() else b""
        return Ended(code, out, self.err.read_text(errors="replace"))


class Shell:
    """Starts runs in a folder of their own."""

    def __init__(self) -> None:
        self.environment: dict[str, str] = {}
        """Where Mesh is, and with which keys."""
        self._folder = Path(tempfile.mkdtemp(prefix="mesh-refresh-shell-"))
        self._number = 0
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.refresh.hostile.zygote"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        )  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.communicate()
        shutil.rmtree(self._folder)

    def ask(self, job: dict[str, Any]) -> str:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()

    def start(
        self,
        folder: Path,
        *arguments: str,
        trouble: Trouble = Trouble(),
        stdout: str | None = "",
        steps: Path | None = None,
        temporary: Path | None = None,
    ) -> Run:
        """``mesh-refresh`` with these arguments. `stdout`: a file's name, or None for one that is closed."""
        self._number += 1
        out, err = (self._folder / f"{self._number}.{name}" for name in ("out", "err"))
        job = {
            "folder": str(folder),
            "arguments": list(arguments),
            "environment": {**self.environment, "HOME": str(folder), "TMPDIR": str(temporary or folder)},
            "stdin": [os.devnull, os.O_RDONLY],
            "stdout": [stdout or str(out) if stdout is not None else None, _WRITE],
            "stderr": [str(err), _WRITE],
            "at": trouble.at,
            "what": trouble.what,
            "lasts": trouble.lasts,
            "steps": None if steps is None else str(steps),
        }
        return Run(self, int(self.ask(job)), out, err)


@define
class Holding:
    """What is held after runs: in outputs and their journals, where last lines say, and on standard output."""

    fake: FakeMesh
    found: list[str] = field(factory=list)

    def take(self, ended: Ended, *outputs: Path) -> None:
        """Hold what this run has left."""
        self._take(ended.out, "standard output")
        for output in outputs:
            for path in (output, output.with_name(f"{output.name}.journal")):
                if path.is_file():
                    self._take(path.read_bytes(), str(path))
        for name in re.findall(r"/[^\s,;:()]+", ended.last_line):
            path = Path(name.rstrip("."))
            if path.is_file():
                self._take(path.read_bytes(), str(path))

    def _take(self, content: bytes, name: str) -> None:
        self.found.append(f"{name}: {len(content)}")
        self.fake.hold_body(content)

    def lost(self) -> list[str]:
        """The accounts whose pair was on the wire, and is nowhere."""
        never_sent = (LossReason.UNDELIVERED, LossReason.HUNG_UP)
        return [f"{it.login} {it.account}: {it.reason.value}" for it in self.fake.lost() if it.reason not in never_sent]
