"""Sessions as values: what is no session, and when one is over."""

from datetime import timedelta

import pytest
from attrs import evolve

from mesh_refresh.service.page.session import Session, form_token, is_form_token, open_session, seal_session
from mesh_refresh.stores import Cipher
from tests.keeper.making import START

HOUR, DAY, MINUTE = timedelta(hours=1), timedelta(days=1), timedelta(minutes=1)
CIPHER = Cipher([Cipher.generate_key()])
SESSION = Session("dana", "0" * 64, START, START)


def test_a_cookie_opens_as_it_was_sealed() -> None:
    """By each process that has the key, after a restart too."""
    assert open_session(CIPHER, seal_session(CIPHER, SESSION)) == SESSION


@pytest.mark.parametrize(
    "context", ["", "form", "login:session", "figures", "session ", "form:" + START.isoformat() + f":{'0' * 64}::dana"]
)
def test_what_was_sealed_as_something_else_is_no_session(context: str) -> None:
    """A login whose id somebody chose, for example."""
    sealed = seal_session(_Under(context), SESSION)
    assert open_session(CIPHER, sealed) is None


class _Under:
    """Seals under another context."""

    def __init__(self, context: str) -> None:
        self._context = context

    def seal(self, text: str, context: str = "") -> bytes:
        return CIPHER.seal(text, self._context)

    def open(self, sealed: bytes, context: str = "") -> str:
        return CIPHER.open(sealed, self._context)


@pytest.mark.parametrize("cookie", ["", "=", "a", "not base64 \x00", "é", "A" * 100, "eyJrZXlfbmFtZSI6ImRhbmEifQ"])
def test_what_was_not_sealed_is_no_session(cookie: str) -> None:
    assert open_session(CIPHER, cookie) is None
    assert not is_form_token(CIPHER, SESSION, cookie)


def test_each_byte_of_a_cookie_counts() -> None:
    sealed = seal_session(CIPHER, SESSION)
    for place in range(0, len(sealed), 7):
        changed = sealed[:place] + ("A" if sealed[place] != "A" else "B") + sealed[place + 1 :]
        assert open_session(CIPHER, changed) is None
    assert open_session(Cipher([Cipher.generate_key()]), sealed) is None


@pytest.mark.parametrize(
    ("used", "now", "is_over"),
    [
        (0 * HOUR, 12 * HOUR - MINUTE, False),
        (0 * HOUR, 12 * HOUR, True),
        (7 * DAY - HOUR, 7 * DAY - MINUTE, False),
        (7 * DAY - HOUR, 7 * DAY, True),
        (0 * HOUR, -MINUTE, False),
        (0 * HOUR, -HOUR, True),
    ],
)
def test_a_session_ends(used: timedelta, now: timedelta, is_over: bool) -> None:
    """After 12 hours without use, after 7 days, and where it begins in the future."""
    assert evolve(SESSION, used_at=START + used).is_over(START + now) is is_over


def test_use_is_noted_every_five_minutes() -> None:
    assert SESSION.used(START + 4 * MINUTE) is SESSION
    assert SESSION.used(START + 5 * MINUTE).used_at == START + 5 * MINUTE


@pytest.mark.parametrize(
    "other",
    [
        evolve(SESSION, key_name="robin"),
        evolve(SESSION, key_hash="1" * 64),
        evolve(SESSION, begun_at=START + MINUTE),
        evolve(SESSION, process="p"),
        Session("", "", START, START),
    ],
)
def test_a_form_is_of_one_session(other: Session) -> None:
    """Of no other, not of the same key either; and it outlives that its use is noted."""
    token = form_token(CIPHER, SESSION)
    assert is_form_token(CIPHER, SESSION.used(START + HOUR), token)
    assert not is_form_token(CIPHER, other, token)
    assert not is_form_token(CIPHER, SESSION, seal_session(CIPHER, SESSION))
    assert form_token(CIPHER, SESSION) != token
