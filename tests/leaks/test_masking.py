"""The masked types: they keep what they hold, and no tracker finds it in them."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from mesh_refresh.masking import MaskedBuffer, MaskedBytes, MaskedDict, MaskedList, MaskedStr
from tests.leaks import trackers
from tests.leaks.witness import MARK, planted

SECRET = planted("secret")
NESTED: dict[str, Any] = {"a": [SECRET, {"b": (SECRET, [SECRET.encode()])}], "c": {"d": bytearray(SECRET.encode())}}
VALUES: list[tuple[Any, Any]] = [
    (MaskedStr(SECRET), SECRET),
    (MaskedBytes(SECRET.encode()), SECRET.encode()),
    (MaskedBuffer(SECRET.encode()), SECRET.encode()),
    (MaskedDict(NESTED), NESTED),
    (MaskedList([SECRET, NESTED]), [SECRET, NESTED]),
]
masked_values = pytest.mark.parametrize(("value", "plain"), VALUES, ids=[type(value).__name__ for value, _ in VALUES])
FRAME = """
def fail(local):
    inside = {"mapping": local, "sequence": [local, (local,)], "nested": {"deep": [{"er": local}]}}
    raise KeyError
"""


def failure(value: object) -> BaseException:
    """An error from a frame, of the package by its name, that has `value` in its locals and inside of them."""
    space: dict[str, Callable[[object], None]] = {}
    exec(compile(FRAME, "/x/mesh_refresh/odd.py", "exec"), space)  # noqa: S102 - a frame with a file name of our choice
    try:
        space["fail"](value)
    except KeyError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize("tracker", trackers.TRACKERS)
@masked_values
def test_no_tracker_finds_it(tracker: trackers.Tracker, value: Any, plain: Any) -> None:
    """A masked value in a frame shows nothing, by itself and inside of containers; without its mask it does."""
    assert not [text for _, text in tracker(failure(value)) if MARK in text]
    if tracker is not trackers.logging_exc_info:  # which shows no locals
        assert [text for _, text in tracker(failure(plain)) if MARK in text]


@masked_values
def test_sentry_finds_it_in_no_extra(value: Any, plain: Any) -> None:
    """What is given to Sentry as `extra`, where it shows text raw, stays masked."""
    assert MARK not in trackers.sentry_extra({"given": value, "inside": [value, {"of": value}]})
    assert MARK in trackers.sentry_extra({"given": plain})


@masked_values
def test_a_part_is_masked_too(value: Any, plain: Any) -> None:
    """Trackers cut what is long before they show it, and walk what can be walked."""
    del plain
    if isinstance(value, MaskedDict):
        assert MARK not in repr([*value.items(), *value.values()])
        assert MARK not in repr(value.copy())
    else:
        assert MARK not in repr(list(value)) + repr(value[:])


@masked_values
def test_it_is_what_it_masks(value: Any, plain: Any) -> None:
    """Masks lose nothing: values equal the plain ones however they are read, copied or written as JSON."""
    assert value == plain
    assert copy.deepcopy(value) == pickle.loads(pickle.dumps(value)) == plain  # noqa: S301 - our own
    if isinstance(value, MaskedDict):
        assert dict(value.items()) == plain
        assert list(value.values()) == list(plain.values())
        assert type(value["a"]) is list
    if isinstance(value, MaskedList):
        assert list(value) == plain


def test_json_of_a_masked_document() -> None:
    """A document is written as JSON as if it were plain."""
    assert orjson.dumps(MaskedDict(a={"b": [SECRET]})) == orjson.dumps({"a": {"b": [SECRET]}})
