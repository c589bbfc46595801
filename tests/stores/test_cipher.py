"""The cipher: what it seals opens with its key, in its place, untouched; and with nothing else."""

import base64
import builtins
import hmac
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_refresh import InvalidRequest, MeshRefreshError
from mesh_refresh.stores import Cipher, PlainText, StoreError, WrongKey, key_ring
from mesh_refresh.stores import cipher as cipher_module
from mesh_refresh.stores.key_ids import KEY_PREFIX, key_id_of
from tests.examples import bounded
from tests.leaks.witness import Witness, planted
from tests.tokens_strategies import UNICODE

OLD, NEW = Cipher.generate_key(), Cipher.generate_key()
SECRET = planted("sealed")


@given(UNICODE, UNICODE)
@bounded(100)
def test_there_and_back(text: str, context: str) -> None:
    """Any text, in any context."""
    for cipher in (Cipher([OLD]), PlainText()):
        assert cipher.open(cipher.seal(text, context), context) == text


def test_a_value_is_bound_to_its_place() -> None:
    """Moved to another login's row it does not open."""
    cipher = Cipher([OLD])
    sealed = cipher.seal(SECRET, "login:user-7")
    for context in ("", "login:user-8", "login:user-7 ", "login:user-70"):
        with pytest.raises(WrongKey):
            cipher.open(sealed, context)


def test_rotation() -> None:
    """The first key seals, all of them open; and what the old one sealed opens until it is taken away."""
    sealed = Cipher([OLD]).seal(SECRET)
    both = Cipher([NEW, OLD])
    assert both.open(sealed) == SECRET
    anew = both.seal(both.open(sealed))
    assert Cipher([NEW]).open(anew) == SECRET
    for cipher, other in ((Cipher([NEW]), sealed), (Cipher([OLD]), anew)):
        with pytest.raises(WrongKey, match="not sealed with any of these keys"):
            cipher.open(other)


def test_tampering() -> None:
    """Every byte counts, and so does the length."""
    cipher = Cipher([NEW, OLD])
    sealed = cipher.seal("a token", "place")
    for index in range(len(sealed)):
        for mask in (1, 0x80, 0xFF):
            with pytest.raises(WrongKey):
                cipher.open(sealed[:index] + bytes([sealed[index] ^ mask]) + sealed[index + 1 :], "place")
        with pytest.raises(WrongKey):
            cipher.open(sealed[:index], "place")
    with pytest.raises(WrongKey):
        cipher.open(sealed + b"\0", "place")


def test_no_two_seals_are_alike() -> None:
    """Nobody sees that two rows hold one token, nor the token."""
    cipher = Cipher([OLD])
    seals = {cipher.seal(SECRET) for _ in range(100)}
    assert len(seals) == 100
    assert len({sealed[5:33] for sealed in seals}) == 100
    assert not any(SECRET.encode() in sealed for sealed in seals)


def test_plain_and_sealed_are_not_mixed_up() -> None:
    """Each says what the other is."""
    with pytest.raises(WrongKey, match="plain text"):
        Cipher([OLD]).open(PlainText().seal(SECRET))
    with pytest.raises(WrongKey, match="sealed"):
        PlainText().open(Cipher([OLD]).seal(SECRET))


def test_keys() -> None:
    """Made at random, 32 bytes in URL-safe base64, as text or bytes, in any iterable."""
    assert len({Cipher.generate_key() for _ in range(50)}) == 50
    assert len(base64.urlsafe_b64decode(OLD)) == 32
    sealed = Cipher([OLD]).seal("x")
    for keys in ([OLD.encode()], (OLD,), iter([NEW, OLD]), {OLD: 1}):
        assert Cipher(keys).open(sealed) == "x"


BAD: list[Any] = [
    "", "short", SECRET, OLD[:-2], OLD + "AAAA", OLD[1:], "\N{SNOWMAN}" * 44, b"\xff" * 44, OLD[:20] + "!" + OLD[20:],
    None, 7, 1.5, [OLD], object(), base64.urlsafe_b64encode(b"x" * 31).decode(),
]  # fmt: skip


@pytest.mark.parametrize("key", BAD, ids=range(len(BAD)))
def test_what_is_no_key(key: Any) -> None:
    """It is refused at once, and not shown, nor are the good ones beside it."""
    witness = Witness()
    witness.also(OLD, NEW)
    for keys in ([key], [NEW, key], [key, OLD]):
        with pytest.raises(InvalidRequest) as caught:
            Cipher(keys)
        witness.look_at(caught.value)
    assert witness.found == []


@pytest.mark.parametrize(
    "keys", [OLD, OLD.encode(), [], (), None, 7], ids=["a key", "its bytes", "no key", "none", "None", "a number"]
)
def test_what_is_no_list_of_keys(keys: Any) -> None:
    """One key alone is not taken for a list of letters, and none at all seals nothing."""
    with pytest.raises(InvalidRequest) as caught:
        Cipher(keys)
    assert OLD not in str(caught.value)


def test_without_cryptography(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to install."""
    real: Callable[..., Any] = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name.startswith("cryptography"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(InvalidRequest, match=r"pip install '\.\[keeper\]'"):
        Cipher([OLD])


def test_nothing_is_shown() -> None:
    """Neither keys nor text, in a repr or in the traceback of anything that goes wrong."""
    witness = Witness()
    witness.also(OLD, NEW)
    cipher, plain = Cipher([OLD]), PlainText()
    witness.look_at(cipher)
    witness.look_at(plain)
    calls: list[Callable[[], object]] = [
        lambda: cipher.seal(SECRET, "\ud800"),
        lambda: cipher.seal(f"{SECRET}\ud800"),
        lambda: plain.seal(f"{SECRET}\ud800"),
        lambda: cipher.open(cipher.seal(SECRET), "elsewhere"),
        lambda: Cipher([NEW]).open(cipher.seal(SECRET)),
        lambda: plain.open(b"plain\0\xff" + SECRET.encode()),
        lambda: cipher.open(plain.seal(SECRET)),
    ]
    for call in calls:
        with pytest.raises(MeshRefreshError) as caught:
            call()
        witness.look_at(caught.value)
    assert witness.found == []


def test_what_is_damaged_is_a_stores_error() -> None:
    """Whoever reads a row catches one kind of error."""
    for cipher in (Cipher([OLD]), PlainText()):
        for sealed in (b"", b"\x01", b"plain", b"plain\0\xff\xfe", b"\x02" * 99, b"\x01" * 99):
            with pytest.raises(StoreError):
                cipher.open(sealed)


@pytest.mark.skipif(sys.platform != "linux", reason="NOT RUN: clones its process by the C library of Linux")
@pytest.mark.parametrize("fork", ["os.fork", "ctypes.PyDLL(None).fork"])
def test_a_clone_of_the_memory_seals_with_randomness_of_its_own(fork: str) -> None:
    """As a snapshot of a machine is: Python's own hooks after a fork do not run in it."""
    program = f"""
import ctypes, os
from mesh_refresh.stores import Cipher
cipher = Cipher([Cipher.generate_key()])
cipher.seal("text")
here, there = os.pipe()
child = {fork}()
sealed = cipher.seal("text")
if not child:
    os.write(there, sealed)
    os._exit(0)
os.waitpid(child, 0)
assert os.read(here, 10_000)[:29] != sealed[:29]
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=60)


def test_a_clone_of_the_whole_machine_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its kernel may give the same random bytes for a moment: two texts get no key and nonce in common even then."""
    monkeypatch.setattr(cipher_module, "_random", lambda: bytes(32))
    cipher, other = Cipher([OLD, NEW]), Cipher([NEW])
    texts = ["", "a", "b", "x" * 5_000, "x" * 4_999 + "y"]
    sealed = [cipher.seal(text, context) for text in texts for context in ("", "a", "b", "aa")]
    sealed.append(other.seal("a", "a"))
    assert len({value[:33] for value in sealed}) == len(sealed)
    assert all(Cipher([NEW, OLD]).open(value, "") == text for value, text in zip(sealed[:-1:4], texts, strict=True))


def test_each_seal_asks_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is drawn ahead; where the system has no such call, the other one is taken."""
    drawn: list[int] = []

    def counted(size: int) -> bytes:
        drawn.append(size)
        return bytes(size)

    def refused(_: int) -> bytes:
        raise OSError

    monkeypatch.setattr("os.getrandom", refused, raising=False)
    monkeypatch.setattr("os.urandom", counted)
    cipher = Cipher([OLD])
    for text in "ab":
        assert cipher.open(cipher.seal(text)) == text
    assert drawn == [32, 32]


def test_no_two_seals_have_the_same_randomness() -> None:
    cipher = Cipher([Cipher.generate_key()])
    assert len({cipher.seal("text")[:33] for _ in range(1_000)}) == 1_000


def test_a_sealed_value_says_which_key_sealed_it() -> None:
    """By an id that both ends have, and that has nothing of the key in it."""
    old, both = Cipher([OLD]), Cipher([NEW, OLD])
    assert both.key_ids[1:] == old.key_ids == Cipher([OLD.encode()]).key_ids
    assert len(set(both.key_ids)) == 2
    for cipher in (old, both, PlainText()):
        for text in ("", "text" * 100):
            sealed = cipher.seal(text, "context")
            assert key_id_of(sealed) == key_id_of(sealed[:KEY_PREFIX]) == cipher.key_ids[0]
    raw = base64.urlsafe_b64decode(OLD)
    assert bytes.fromhex(old.key_ids[0]) not in raw


def test_a_value_of_a_key_that_is_not_at_hand_is_tried_with_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """And with each that has its id: four bytes may be those of two keys."""
    monkeypatch.setattr(key_ring, "_id_of", lambda _: b"same")
    sealed = [Cipher([key]).seal("text") for key in (OLD, NEW)]
    assert [Cipher([NEW, OLD]).open(it) for it in sealed] == ["text", "text"]
    monkeypatch.undo()
    both = Cipher([NEW, OLD])
    monkeypatch.setattr(both, "_aead", None)
    for it in sealed:
        with pytest.raises(WrongKey):
            both.open(it)


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=70), st.lists(st.binary(max_size=2_100), max_size=3))
@bounded(50)
def test_the_kept_states_give_what_hmac_gives(key: bytes, beginning: bytes, parts: list[bytes]) -> None:
    """Each time anew, from the same states."""
    kept = key_ring.KeyedHash(key, beginning)
    wanted = hmac.digest(key, beginning + b"".join(parts), "sha256")
    assert kept.digest(*parts) == kept.digest(*parts) == wanted
