"""What is spooled comes back as it was, and what is damaged says so without showing anything."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_refresh import InvalidRequest
from mesh_refresh.keeper.rules.attempt import Attempt, CodeWanted, ReplyEntry, Success, Unreadable, from_text, to_text
from mesh_refresh.replies.brought import FIELDS
from tests.examples import bounded
from tests.keeper.making import START, attempt, brought, made, question, success, tokens
from tests.leaks.witness import Witness, planted
from tests.tokens_strategies import TOKENS, UNICODE

pytestmark = pytest.mark.once

MOMENTS = st.datetimes(min_value=START.replace(year=2, tzinfo=None), timezones=st.just(START.tzinfo))  # type: ignore[arg-type]
ATTEMPTS = st.builds(
    Attempt,
    UNICODE,
    UNICODE,
    st.integers(0, 2**62),
    UNICODE,
    st.none() | UNICODE,
    st.lists(st.tuples(UNICODE, st.none() | UNICODE), max_size=4).map(tuple),
    MOMENTS,
    st.none() | UNICODE,
    st.booleans(),
)
ENTRIES = st.lists(
    st.builds(ReplyEntry, TOKENS, st.frozensets(st.sampled_from(sorted(FIELDS))), st.booleans()), max_size=3
).map(tuple)
KEPT = (
    st.builds(Success, ENTRIES)
    | ENTRIES.filter(bool).flatmap(lambda it: st.builds(Success, st.just(it), st.integers(0, len(it) - 1)))
    | st.builds(CodeWanted, ENTRIES, st.none() | UNICODE, st.none() | MOMENTS, UNICODE, UNICODE, st.none() | UNICODE)
    | st.builds(Unreadable, st.binary(max_size=50), st.none() | UNICODE, st.booleans())
)


@given(ATTEMPTS, KEPT)
@bounded(200)
def test_there_and_back(sent: Attempt, kept: Any) -> None:
    """All fields, of each kind."""
    assert from_text(to_text(sent, kept)) == (sent, kept)


SECRET = planted("settled")
SENT = attempt(made(tokens(SECRET, SECRET)), 1)
EXAMPLES = [
    to_text(SENT, success(brought(tokens(SECRET, SECRET)))),
    to_text(SENT, Success((brought(tokens(SECRET, SECRET)),), 0)),
    to_text(SENT, CodeWanted((), SECRET, START, SECRET, "question-1")),
    to_text(SENT, Unreadable(SECRET.encode())),
]
WRONG: list[Any] = [None, 7, -1.5, [], {}, "?", [SECRET], {"a": SECRET}, [[SECRET]]]


def parts(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to everything in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(it for key, item in inner for it in parts(item, (*path, key)))] if path or inner else []


def damaged(text: str, path: tuple[Any, ...], wrong: Any) -> str:
    document = json.loads(text)
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = wrong
    return json.dumps(document)


@pytest.mark.parametrize("text", EXAMPLES)
def test_damage(text: str) -> None:
    """Any part of another type: it is read all the same, or refused with a word and nothing of what it holds."""
    witness = Witness()
    for path in filter(None, parts(json.loads(text))):
        for wrong in WRONG:
            try:
                sent, kept = from_text(damaged(text, path, wrong))
            except InvalidRequest as error:
                witness.look_at(error)
            else:
                assert isinstance(sent.number, int), path
                assert isinstance(sent.login_id, str), path
                to_text(sent, kept)
    for size in range(0, len(text), 7):
        with pytest.raises(InvalidRequest) as caught:
            from_text(text[:size])
        if size % 11 == 0:  # looking takes a hundred times longer
            witness.look_at(caught.value)
    assert witness.found == []


def test_a_body_is_compressed() -> None:
    """It may be of 16 MiB."""
    body = b'{"accessToken":"' + b"fake" * 100_000 + b'"}'
    text = to_text(SENT, Unreadable(body))
    assert len(text) < len(body) / 50
    assert from_text(text) == (SENT, Unreadable(body))


def test_nothing_is_shown() -> None:
    """Attempts, outcomes and logins mask themselves."""
    witness = Witness()
    login = made(tokens(SECRET, SECRET))
    wanted = CodeWanted((brought(tokens(SECRET)),), SECRET, None, SECRET, "question-1")
    for value in (login, SENT, success(brought(tokens(SECRET))), wanted, Unreadable(SECRET.encode()), question()):
        witness.look_at(value)
    assert witness.found == []
