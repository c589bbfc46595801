"""Queries and bodies: what is not known, not clear or not text is refused, and nothing of it is quoted."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from mesh_refresh import InvalidRequest
from mesh_refresh.service.api.parameters import (
    MediaTypeRefused,
    check_fields,
    number_of,
    read_body,
    read_query,
    span_of,
    text_of,
    time_of,
)

pytestmark = pytest.mark.once

JSON = "application/json"
NAMES = ("accountId", "maxWait")
PLANTED = "planted-secret"


def test_a_query_has_each_parameter_once() -> None:
    assert read_query("", NAMES) == {}
    assert read_query("accountId=a%2Fb+c&maxWait=20s", NAMES) == {"accountId": "a/b c", "maxWait": "20s"}
    for wrong in (
        f"{PLANTED}=1",
        f"accountId={PLANTED}&accountId={PLANTED}",
        "accountId=",
        f"accountId=%ff{PLANTED}",
        f"{PLANTED}",
        "&",
        "AccountId=a",
        "accountId=a&" + "&".join(f"x{number}=1" for number in range(200)),
    ):
        with pytest.raises(InvalidRequest) as refused:
            read_query(wrong, NAMES)
        assert PLANTED not in str(refused.value)
    with pytest.raises(InvalidRequest, match="This takes none"):
        read_query("a=1", ())


def test_spans_are_written_as_people_write_them() -> None:
    most = timedelta(seconds=50)
    assert span_of("maxWait", None, most=most) is None
    for text, seconds in (("50s", 50), ("0s", 0), ("500ms", 0.5), ("1.5s", 1.5)):
        assert span_of("maxWait", text, most=most) == timedelta(seconds=seconds)
    assert span_of("validFor", "1h30m") == timedelta(minutes=90)
    for wrong in ("51s", "1m", "50.001s"):
        with pytest.raises(InvalidRequest, match="maxWait must be at most 50s"):
            span_of("maxWait", wrong, most=most)
    for wrong in ("10", "m", "-10s", "10 s", "1e3s", "PT10M", f"{'9' * 400}d", "٣x"):
        with pytest.raises(InvalidRequest, match="validFor must be a span"):
            span_of("validFor", wrong)


def test_times_have_an_offset() -> None:
    moment = datetime(2026, 11, 23, 16, tzinfo=UTC)
    assert time_of("at", None) is None
    for text in ("2026-11-23T16:00:00Z", "2026-11-23T18:00:00+02:00", "2026-11-23T18:00:00 02:00"):
        assert time_of("at", text) == moment
    for wrong in ("2026-11-23T16:00:00", "2026-11-23", "15m", "", 1764000000, True, "0001-01-01T00:00:00+14:00"):
        with pytest.raises(InvalidRequest, match="at must be a time with its offset"):
            time_of("at", wrong)


def test_numbers_are_whole_and_in_their_range() -> None:
    assert number_of("limit", None, 100, 500) == 100
    assert number_of("limit", "500", 100, 500) == 500
    for wrong in ("0", "501", "-1", "1.0", "1e2", "", " 1", "٣", "9" * 5000):
        with pytest.raises(InvalidRequest, match="limit must be a whole number from 1 to 500"):
            number_of("limit", wrong, 100, 500)


@pytest.mark.parametrize(
    "content_type",
    [None, JSON, "Application/JSON", "application/json;charset=utf-8", 'application/json; charset="UTF-8"'],
)
def test_a_body_is_json_in_utf8(content_type: str | None) -> None:
    assert read_body('{"a": {"b": ["é", 1, 1.5, null, true]}}'.encode(), content_type) == {
        "a": {"b": ["é", 1, 1.5, None, True]}
    }
    assert read_body(b"", content_type) == {}


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=latin-1",
        "application/json, text/plain",
        "application/jsonp",
        "application/merge-patch+json",
    ],
)
def test_a_body_of_another_kind_is_refused_as_such(content_type: str) -> None:
    with pytest.raises(MediaTypeRefused):
        read_body(b"{}", content_type)


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'"planted-secret"',
        b"null",
        b"1",
        b"{",
        b"planted-secret",
        b'{"a": 1,}',
        b'{"a": 1, "a": 1}',
        b'{"a": [{"b": {"planted-secret": 1, "planted-secret": 2}}]}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": 123456789012345678901234567890}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": "\\ud800"}',
        b'{"a": "\xff"}',
        b'{"a": "\xed\xa0\x80"}',
        b"\xef\xbb\xbf{}",
        '{"a": "é"}'.encode("utf-16"),
        b'{"a":' * 100_000,
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a": "\x00"}',
    ],
)
def test_a_body_that_programs_read_differently_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_body(body, JSON)
    assert type(refused.value) is InvalidRequest
    assert PLANTED not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_fields_are_known_and_texts() -> None:
    document = read_body(json.dumps({"code": "0", "accountId": None}).encode(), JSON)
    check_fields(document, ("code", "accountId"))
    assert text_of(document, "code", required=True) == "0"
    assert text_of(document, "accountId") is None
    with pytest.raises(InvalidRequest, match="There are: code"):
        check_fields({PLANTED: 1}, ("code",))
    values: tuple[object, ...] = (None, "", 424242, True, [], {}, 1.5)
    for value in values:
        with pytest.raises(InvalidRequest, match="code must be a text that is not empty"):
            text_of({"code": value}, "code", required=True)
