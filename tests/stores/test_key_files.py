"""Keys in a file that changes, and keys that a KMS unwraps."""

import asyncio
import base64
import os
from pathlib import Path
from typing import Any

import pytest

from mesh_refresh import InvalidRequest
from mesh_refresh.stores import Cipher, WrongKey
from mesh_refresh.stores.sqlite import SqliteStore
from mesh_refresh.testing import ManualClock

OLD, NEW, NEXT = Cipher.generate_key(), Cipher.generate_key(), Cipher.generate_key()
TEN_MINUTES = 600.0


class Keys:
    """A file with keys, and processes that read it. They see no change for a second."""

    def __init__(self, path: Path) -> None:
        self.path, self.clock = path, ManualClock()

    def write(self, *keys: str, between: str = ",", age: float = 0) -> None:
        """Put `keys` into the file, as it was done so long ago."""
        self.path.write_text(between.join(keys) + "\n")
        at = self.clock.now().timestamp() - age
        os.utime(self.path, (at, at))

    def process(self) -> Cipher:
        return Cipher.from_file(self.path, clock=self.clock)

    def wait(self, seconds: float = 1) -> None:
        self.clock.advance(seconds)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    found = Keys(tmp_path / "keys")
    found.write(OLD, age=TEN_MINUTES)
    return found


def sealed_by(cipher: Cipher) -> str:
    """The key that seals now."""
    sealed = cipher.seal("text", "context")
    for key in (OLD, NEW, NEXT):
        try:
            assert Cipher([key]).open(sealed, "context") == "text"
        except WrongKey:
            continue
        assert cipher.seals_with == Cipher([key]).key_ids[0]
        return key
    raise AssertionError


def test_a_new_first_key_opens_at_once_and_seals_after_ten_minutes(keys: Keys) -> None:
    """So each process that has not seen the change yet opens all that others seal."""
    early, late = keys.process(), keys.process()
    keys.write(NEW, OLD)
    assert early.open(Cipher([OLD]).seal("text"), "") == "text"
    keys.wait()
    assert early.open(Cipher([NEW]).seal("text"), "") == "text"
    assert early.key_ids == Cipher([NEW, OLD]).key_ids
    for _ in range(59):
        assert sealed_by(early) == OLD
        keys.wait(10)
    keys.wait(9)
    assert sealed_by(early) == OLD
    keys.wait()
    assert sealed_by(early) == NEW
    assert late.open(early.seal("text"), "") == "text"


def test_a_process_that_starts_meanwhile_waits_too(keys: Keys) -> None:
    """It cannot know what others have seen: the age of the file tells."""
    keys.write(NEW, OLD)
    keys.wait(60)
    meanwhile = keys.process()
    assert sealed_by(meanwhile) == OLD
    keys.wait(TEN_MINUTES - 61)
    assert sealed_by(meanwhile) == OLD
    keys.wait()
    assert sealed_by(meanwhile) == NEW
    assert sealed_by(keys.process()) == NEW


def test_a_file_with_one_key_seals_at_once(keys: Keys) -> None:
    """As a new store's does."""
    keys.write(NEW)
    assert sealed_by(keys.process()) == NEW


def test_a_key_that_leaves_the_file_seals_nothing_more_and_opens_what_it_sealed(keys: Keys) -> None:
    """A process that starts then does not have it. One that runs may still meet rows of it."""
    cipher = keys.process()
    sealed = cipher.seal("text")
    keys.write(NEW)
    keys.wait()
    assert sealed_by(cipher) == NEW
    assert cipher.key_ids == Cipher([NEW]).key_ids
    assert cipher.open(sealed) == "text"
    with pytest.raises(WrongKey):
        keys.process().open(sealed)


def test_a_second_change_begins_the_wait_anew(keys: Keys) -> None:
    """The last first key counts; where the change is taken back, nothing has happened."""
    cipher = keys.process()
    keys.write(NEW, OLD)
    keys.wait(TEN_MINUTES - 1)
    keys.write(NEXT, NEW, OLD)
    keys.wait()
    assert sealed_by(cipher) == OLD
    keys.wait(TEN_MINUTES - 1)
    assert sealed_by(cipher) == OLD
    keys.write(OLD)
    keys.wait(TEN_MINUTES)
    assert sealed_by(cipher) == OLD


@pytest.mark.parametrize("between", [",", "\n", " , ", "\r\n\r\n", ",\n"])
def test_keys_stand_apart_in_any_way(keys: Keys, between: str) -> None:
    keys.write(NEW, OLD, OLD, between=between, age=TEN_MINUTES)
    assert keys.process().key_ids == Cipher([NEW, OLD]).key_ids


@pytest.mark.parametrize(
    "content",
    [b"", b"hunter2", f"{NEW},hunter2".encode(), b"\xff\xfe", b"k" * 70_000, None],
    ids=["empty", "no key", "one key", "no text", "too long", "gone"],
)
def test_a_file_that_breaks_meanwhile_changes_nothing(
    keys: Keys, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    """It is an error in the log, once, without what is in it. When it is whole again, it counts."""
    cipher = keys.process()
    if content is None:
        keys.path.unlink()
    else:
        keys.path.write_bytes(content)
    for _ in range(3):
        keys.wait()
        assert sealed_by(cipher) == OLD
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "The file of Cipher.from_file" in record.message
    assert "What was in it before is used." in record.message
    assert not any(secret in record.getMessage() for secret in ("hunter2", NEW))
    keys.write(NEW, OLD)
    keys.wait()
    assert cipher.open(Cipher([NEW]).seal("text")) == "text"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read: No such file"),
        (b"", "holds no secret"),
        (b"hunter2", "not a key"),
        (..., "cannot be read: Is a directory"),
    ],
)
def test_a_file_that_will_not_do_at_the_start(tmp_path: Path, content: Any, says: str) -> None:
    """An error, in one line, that names the file by what named it, and quotes nothing."""
    path = tmp_path / "hunter2"
    if content is ...:
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidRequest, match=says) as error:
        Cipher.from_file(path, named="in MESH_REFRESH_KEYS_FILE")
    assert "The file in MESH_REFRESH_KEYS_FILE" in str(error.value)
    assert "hunter2" not in str(error.value)
    assert "\n" not in str(error.value)


# Envelope keys.


class SlowKms:
    """A KMS that answers when it is let, and fails where it is told to."""

    def __init__(self, keys: int = 1) -> None:
        self.asked: list[bytes] = []
        self.all_asked = asyncio.Event()
        self.keys = keys
        self.open = asyncio.Event()
        self.fails: set[bytes] = set()

    def wrap(self, key: str) -> bytes:
        return b"wrapped:" + key.encode()[::-1]

    async def unwrap(self, wrapped: bytes) -> bytes:
        self.asked.append(wrapped)
        if len(self.asked) == self.keys:
            self.all_asked.set()
        await self.open.wait()
        if wrapped in self.fails:
            raise ConnectionError("the KMS is away")
        return wrapped.removeprefix(b"wrapped:")[::-1]


async def test_wrapped_keys_are_unwrapped_at_once_and_once() -> None:
    """All at the same time, in their order; nothing is asked of the KMS when the cipher works."""
    kms = SlowKms(keys=2)
    wrapped = [kms.wrap(NEW), kms.wrap(OLD)]
    making = asyncio.create_task(Cipher.from_wrapped(wrapped, unwrap=kms.unwrap))
    await kms.all_asked.wait()
    assert not making.done()
    kms.open.set()
    cipher = await making
    assert cipher.key_ids == Cipher([NEW, OLD]).key_ids
    assert sealed_by(cipher) == NEW
    assert kms.asked == wrapped


async def test_what_the_kms_raises_is_raised() -> None:
    """No cipher is made of a part of the keys: rows of the missing one would not open."""
    kms = SlowKms()
    kms.open.set()
    wrapped = [kms.wrap(NEW), kms.wrap(OLD)]
    kms.fails = {wrapped[1]}
    with pytest.raises(ConnectionError):
        await Cipher.from_wrapped(wrapped, unwrap=kms.unwrap)
    kms.fails = set()
    assert (await Cipher.from_wrapped(wrapped, unwrap=kms.unwrap)).key_ids == Cipher([NEW, OLD]).key_ids


async def test_a_kms_that_is_given_up_is_asked_nothing_more() -> None:
    """As by a time-out of the caller's: no call goes on behind its back."""
    kms, left = SlowKms(keys=2), 0

    async def unwrap(wrapped: bytes) -> bytes:
        nonlocal left
        try:
            return await kms.unwrap(wrapped)
        finally:
            left += 1

    making = asyncio.create_task(Cipher.from_wrapped([kms.wrap(NEW), kms.wrap(OLD)], unwrap=unwrap))
    await kms.all_asked.wait()
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert left == 2


@pytest.mark.once
async def test_a_kms_that_gives_another_key_opens_nothing(tmp_path: Path) -> None:
    """The bytes are a key, and not the right one: the store says so when it is opened, and opens with the right one."""
    path = tmp_path / "fleet.db"
    async with SqliteStore.open(path, cipher=Cipher([OLD])):
        pass
    wrong = await Cipher.from_wrapped([b"wrapped"], unwrap=lambda _: base64.urlsafe_b64decode(NEW))
    with pytest.raises(WrongKey):
        _ = await SqliteStore.open(path, cipher=wrong)
    right = await Cipher.from_wrapped([b"wrapped"], unwrap=lambda _: base64.urlsafe_b64decode(OLD))
    async with SqliteStore.open(path, cipher=right) as store:
        assert await store.key_usage() == {}


@pytest.mark.parametrize("form", [str, str.encode, base64.urlsafe_b64decode])
async def test_a_key_may_come_as_text_or_as_bytes(form: Any) -> None:
    """As `generate_key` made it, or as the 32 bytes that a KMS drew; an ordinary function will do."""
    cipher = await Cipher.from_wrapped(["wrapped"], unwrap=lambda _: form(OLD))
    assert cipher.key_ids == Cipher([OLD]).key_ids


@pytest.mark.parametrize(
    ("wrapped", "unwrap", "says"),
    [
        ("hunter2", lambda it: it, "a list of wrapped keys"),
        (None, lambda it: it, "a list of wrapped keys"),
        ([], lambda it: it, "at least one key"),
        (["hunter2"], lambda it: it, "not a key"),
        (["hunter2"], lambda _: None, "not a key"),
        (["hunter2"], lambda _: bytes(31), "not a key"),
        (["hunter2"], lambda _: bytes(33), "not a key"),
        (["hunter2"], lambda _: b"\xff" * 44, "not a key"),
        (["hunter2"], lambda _: f"{NEW[:-2]}hunter2", "not a key"),
        (["hunter2", "good"], lambda it: NEW if it == "good" else b"hunter2", "not a key"),
        (["hunter2"], None, "unwrap must be a function"),
    ],
)
async def test_what_is_no_wrapped_key(wrapped: Any, unwrap: Any, says: str) -> None:
    """One line that says what is wrong, and quotes nothing."""
    with pytest.raises(InvalidRequest, match=says) as error:
        await Cipher.from_wrapped(wrapped, unwrap=unwrap)
    assert "hunter2" not in str(error.value)
