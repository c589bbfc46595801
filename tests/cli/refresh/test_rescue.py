"""The last places that take tokens."""

import io
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from mesh_refresh.cli.refresh.rescue import keep_in_a_file, keep_on_a_stream


class Stream(io.TextIOWrapper):
    """Standard output or standard error."""

    def __init__(self, *, is_terminal: bool = False, broken: type[Exception] | None = None) -> None:
        self.bytes = io.BytesIO()
        super().__init__(self.bytes, "utf-8")
        self._is_terminal, self._broken = is_terminal, broken

    def isatty(self) -> bool:
        return self._is_terminal

    @property
    def buffer(self) -> io.BytesIO:
        if self._broken is not None:
            raise self._broken
        return self.bytes


@pytest.mark.parametrize("broken", [OSError, ValueError, AttributeError, None])
@pytest.mark.parametrize("is_terminal", [True, False])
def test_standard_output_and_then_the_terminal(
    monkeypatch: pytest.MonkeyPatch, broken: type[Exception] | None, is_terminal: bool
) -> None:
    """Standard error where it is no terminal may be a log, which others read: it gets none."""
    out, err = Stream(broken=broken), Stream(is_terminal=is_terminal)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    taken = keep_on_a_stream(b"fake-tokens", stdout=True)
    assert taken == ("standard output" if broken is None else "the terminal" if is_terminal else None)
    assert out.bytes.getvalue() == (b"fake-tokens" if broken is None else b"")
    assert err.bytes.getvalue() == (b"fake-tokens" if taken == "the terminal" else b"")
    assert keep_on_a_stream(b"", stdout=False) == ("the terminal" if is_terminal else None)


def test_folders_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are missing, or cannot even be named, are passed over."""

    def fail() -> NoReturn:
        raise RuntimeError

    monkeypatch.setattr("mesh_refresh.cli.refresh.rescue._FOLDERS", (fail, lambda: tmp_path / "no", lambda: tmp_path))
    kept = keep_in_a_file(b"fake-tokens", tmp_path / "neither", prefix="a-", suffix=".b")
    assert kept is not None
    assert kept.parent == tmp_path
    assert kept.read_bytes() == b"fake-tokens"
    assert kept.stat().st_mode & 0o777 == 0o600
    monkeypatch.setattr("mesh_refresh.cli.refresh.rescue._FOLDERS", (fail,))
    assert keep_in_a_file(b"fake-tokens", prefix="a-", suffix=".b") is None
