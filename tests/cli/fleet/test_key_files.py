"""Keys in a file that ``MESH_REFRESH_KEYS_FILE`` names, and what each key still seals."""

import json
import os
import time
from pathlib import Path

import pytest

from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.messages import say
from mesh_refresh.stores import Cipher
from tests.cli.fleet.conftest import OpenFleet

NEW = Cipher.generate_key()
FILE = "MESH_REFRESH_KEYS_FILE"


class KeyFile:
    """The keys of a fleet in a file."""

    def __init__(self, fleet: OpenFleet, path: Path) -> None:
        self.fleet, self.path = fleet, path
        fleet.cli.monkeypatch.delenv("MESH_REFRESH_KEYS")
        fleet.cli.monkeypatch.setenv(FILE, str(path))
        self.write(fleet.key)

    def write(self, *keys: str, age: float = 3600) -> None:
        """Put `keys` into the file, as it was done so long ago."""
        self.path.write_text(",".join(keys) + "\n")
        os.utime(self.path, (time.time() - age,) * 2)

    def usage(self) -> dict[int | None, tuple[int, int]]:
        """How many values and files of the spool each key seals, by its number."""
        document = json.loads(self.fleet("key", "usage", "--json").out)
        return {line["key"]: (line["values"], line["spooled"]) for line in document["keys"]}


@pytest.fixture
def keys(fleet: OpenFleet, tmp_path: Path) -> KeyFile:
    found = KeyFile(fleet, tmp_path / "keys")
    for number in range(3):
        fleet.add(f"user-{number}")
    return found


def test_a_rotation(keys: KeyFile) -> None:
    """From one key to the next, and `usage` says at each step whether the old one may go."""
    fleet = keys.fleet
    assert keys.usage() == {1: (3, 0)}
    keys.write(NEW, fleet.key, age=0)
    ran = fleet("key", "usage")
    assert "Key 1 is new in the file" in ran.out
    assert "may go after" not in ran.out
    ran = fleet("key", "reseal")
    assert (ran.code, "has not been in the file for ten minutes" in ran.err) == (Exit.TRY_AGAIN, True)
    assert keys.usage() == {1: (0, 0), 2: (3, 0)}
    keys.write(NEW, fleet.key)
    assert "Key 2" in (out := fleet("key", "usage").out)
    assert "must stay: it seals 3 values. Next: mesh-refresh key reseal" in out
    assert fleet("key", "reseal").code == 0
    assert keys.usage() == {1: (3, 0), 2: (0, 0)}
    assert "It may go, if a reseal has run" in fleet("key", "usage").out
    keys.write(NEW)
    assert fleet("logins").code == 0
    assert keys.usage() == {1: (3, 0)}


def test_a_file_of_the_spool_keeps_its_key(keys: KeyFile) -> None:
    """What waits there is sealed too, and a store that has nothing of the key does not know."""
    fleet = keys.fleet
    keys.write(NEW, fleet.key)
    assert fleet("key", "reseal").code == 0
    spool = Path("fleet.db.spool")
    spool.mkdir(exist_ok=True)
    sealed = Cipher([fleet.key]).seal("fake", "spool")
    (spool / "one.settlement").write_bytes(b"mesh_refresh spool 1\n" + bytes(32) + sealed)
    (spool / "cut.settlement").write_bytes(b"mesh_refresh spo")
    assert keys.usage() == {1: (3, 0), 2: (0, 1)}
    assert "must stay: files in the spool are sealed with it" in fleet("key", "usage").out


def test_a_key_that_is_not_at_hand_is_counted(keys: KeyFile) -> None:
    """And the exit code says so."""
    fleet = keys.fleet
    keys.write(NEW, fleet.key)
    fleet.add("user-3")
    keys.write(fleet.key)
    ran = fleet("key", "usage")
    assert ran.code == Exit.STORE
    assert "none of these" in ran.out
    assert f"The key with the id {Cipher([NEW]).key_ids[0]} is not at hand" in ran.out
    assert keys.usage() == {1: (3, 0), None: (1, 0)}


def test_the_usage_of_a_store_in_plain_text(fleet: OpenFleet) -> None:
    """It has one row, and no key."""
    fleet.cli.monkeypatch.delenv("MESH_REFRESH_KEYS")
    link = {"brokerType": "coinbase", "accountTokens": [{"refreshToken": "fake"}]}
    line = json.dumps({"login": "a", "payload": link})
    assert fleet("import", "-q", "-", "--plaintext", stdin=line).code == 0
    document = json.loads(fleet("key", "usage", "--plaintext", "--json").out)
    assert document == {"seals_with": "plain", "keys": [{"key": 1, "id": "plain", "values": 1, "spooled": 0}]}


@pytest.mark.parametrize("command", [("status",), ("key", "usage"), ("run", "--once")])
@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "cannot be read: No such file"), ("", "holds no secret"), ("hunter2", "This is not a key")],
)
def test_a_file_that_will_not_do(
    fleet: OpenFleet, tmp_path: Path, command: tuple[str, ...], content: str | None, says: str
) -> None:
    """One line that names the variable, and nothing is changed."""
    fleet.add("user-0")
    before = Path("fleet.db").read_bytes()
    path = tmp_path / "hunter2"
    if content is not None:
        path.write_text(content)
    fleet.cli.monkeypatch.delenv("MESH_REFRESH_KEYS")
    fleet.cli.monkeypatch.setenv(FILE, str(path))
    ran = fleet(*command)
    assert ran.code == Exit.INVALID
    (line,) = ran.err.splitlines()
    assert f"The file in {FILE}" in line
    assert says in line
    assert "hunter2" not in line
    assert Path("fleet.db").read_bytes() == before


@pytest.mark.parametrize("other", ["MESH_REFRESH_KEYS", "MESH_REFRESH_KEY", "--plaintext"])
def test_keys_come_from_one_place(keys: KeyFile, other: str) -> None:
    """A second place is an error: which of them counts could not be told."""
    option = [other] if other.startswith("--") else []
    if not option:
        keys.fleet.cli.monkeypatch.setenv(other, NEW)
    ran = keys.fleet("status", *option)
    assert ran.code == Exit.INVALID
    (line,) = ran.err.splitlines()
    assert FILE in line
    assert "Leave out one of them" in line


def test_a_client_secret_in_a_file_shows_in_no_message(
    fleet: OpenFleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Parts of a message come from servers, which echo what they were sent. A pipe in its place holds up nothing."""
    file = tmp_path / "secret"
    file.write_text("hunter2\n")
    fleet.cli.monkeypatch.delenv("MESH_CLIENT_SECRET")
    fleet.cli.monkeypatch.setenv("MESH_CLIENT_SECRET_FILE", str(file))
    say("the server says hunter2")
    file.unlink()
    os.mkfifo(file)
    say("the server says nothing")
    assert capsys.readouterr().err == "mesh-refresh: the server says ***\nmesh-refresh: the server says nothing\n"
