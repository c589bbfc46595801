"""The journal, and the claim to an output, by themselves."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mesh_refresh.cli.refresh import files
from mesh_refresh.cli.refresh.files import owner_of
from mesh_refresh.cli.refresh.journal import Journal, read_leftover
from mesh_refresh.cli.refresh.output_file import OutputFile
from mesh_refresh.cli.terminal.messages import Failure
from tests.cli.refresh.hostile.hostile_os import HostileOs, Step

pytestmark = pytest.mark.skipif(os.name != "posix", reason="locks and descriptors of POSIX")


def begun(folder: Path) -> Journal:
    return Journal.begin(folder / "out.json", b"", [{"a": 0}, {"a": 0}], owner_of(folder.stat()))


def left(folder: Path) -> tuple[object, ...]:
    found = read_leftover(folder / "out.json")
    assert found is not None
    found.close()
    assert not found.rest
    return found.documents


def test_the_latest_document_of_each_place_counts(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    journal.append([(0, {"a": 1}), (2, {"a": 2})])
    journal.append([(0, {"a": 3}), (1, None)])
    journal.leave()
    assert left(tmp_path) == ({"a": 3}, {"a": 2})


def test_what_could_not_be_written_whole_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a shorter line, the rest of a longer one would be taken for lines of its own."""
    journal = begun(tmp_path)

    def meet(step: Step) -> None:
        if step.name == "fsync":
            raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(files, "os", HostileOs(meet))
        with pytest.raises(OSError, match="Input/output"):
            journal.append([(0, {"a": "a long one\n" * 100}), (1, {"a": 7})])
    journal.append([(0, {"a": 1})])
    journal.leave()
    assert left(tmp_path) == ({"a": 1}, {"a": 0})


def test_a_journal_that_is_at_work_is_nobody_elses(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    with pytest.raises(Failure, match="works on this file"):
        read_leftover(tmp_path / "out.json")
    journal.remove()
    assert read_leftover(tmp_path / "out.json") is None


def test_an_output_is_claimed_once(tmp_path: Path) -> None:
    """Before there is a journal, too; and made for nothing, it is gone."""
    first = OutputFile.claim(tmp_path / "out.json", None)
    for _ in range(2):
        with pytest.raises(Failure, match="works on this file"):
            OutputFile.claim(tmp_path / "out.json", None)
        first.try_out()
    first.close()
    assert not (tmp_path / "out.json").exists()


def test_a_closed_stream_leaves_no_number_to_a_file() -> None:
    program = """
import os
for number in range(3):
    os.close(number)
from mesh_refresh.cli.terminal.closed_output import refuse_closed_output
with refuse_closed_output():
    os._exit(os.open(os.devnull, os.O_RDONLY))
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", program], check=False, env=env).returncode >= 3
