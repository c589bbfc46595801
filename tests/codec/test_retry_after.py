"""How long Mesh asks to wait, in every form that servers send."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mesh_refresh import MfaRequired, ServerFailure, Throttled, Unavailable
from tests.examples import bounded
from tests.replies.wire_replies import AT, content, decoded, envelope, read, refusal, without_body

HOUR = 3600.0


def asked_to_wait(header: str, status: int = 429, at: datetime = AT) -> timedelta | None:
    error = refusal(decoded(status, envelope(None, "tooManyRequest"), {"retry-AFTER": header}, at=at))
    assert isinstance(error, Throttled | Unavailable)
    return error.retry_after


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0), ("7", 7), (" 30 ", 30), ("\t30\r\n", 30), ("3600", HOUR), ("3601", HOUR), ("9" * 40, HOUR),
        ("000000000000007", 7), ("9" * 10_000, HOUR),
        ("1.5", 1.5), ("0.25", 0.25), (".5", 0.5), ("30.", 30), ("1e1", 10), ("1.5E2", 150), ("1e999", HOUR),
        ("+30", 30), ("-5", 0), ("-0.5", 0), ("-1e999", 0),
        ('"30"', 30), ("'30'", 30), ('" 30 "', 30), ("30;", 30), ("30; comment", 30),
        ("30s", 30), ("30 s", 30), ("30 sec", 30), ("30 secs", 30), ("30 seconds", 30), ("1 second", 1), ("30S", 30),
        ("1.5s", 1.5), ("1500ms", 1.5), ("1500 milliseconds", 1.5), ("2m", 120), ("2 min", 120), ("2 minutes", 120),
        ("1h", HOUR), ("2 days", HOUR), ("1m30s", 90), ("1 minute 30 seconds", 90), ("0h0m7s", 7), ("-5s", 0),
        ("PT30S", 30), ("PT1M30S", 90), ("pt0.5s", 0.5), ("00:00:30", 30), ("0:01:30.5", 90.5),
        ("try again in 30 seconds", 30), ("delay=30s", 30),
        ("30, 60", 60), ("60,30", 60), ("30, soon", 30), ("soon, 30", 30), ("30s, 1m", 60), ("1.5, 1.5", 1.5),
    ],
)  # fmt: skip
def test_delays(header: str, seconds: float) -> None:
    """A number is of seconds, or of the unit it names; of a list the longest is right for all who wrote it."""
    assert asked_to_wait(header) == timedelta(seconds=seconds)


def test_where_times_begin() -> None:
    """A billion and more is a Unix time, which has passed: less is a delay, and a long one."""
    assert asked_to_wait("999999999") == timedelta(seconds=HOUR)
    assert asked_to_wait("1000000000") == timedelta()
    assert asked_to_wait("999999999999") == timedelta(seconds=HOUR), "in the year 33658"
    assert asked_to_wait("1000000000000") == timedelta(), "in 2001, in milliseconds"


FORMS: dict[str, Callable[[datetime], str]] = {
    "RFC 1123": lambda moment: format_datetime(moment, usegmt=True),
    "another zone": lambda moment: format_datetime(moment.astimezone(timezone(timedelta(hours=-5)))),
    "no weekday": lambda moment: moment.strftime("%d %b %Y %H:%M:%S GMT"),
    "no zone": lambda moment: moment.strftime("%a, %d %b %Y %H:%M:%S"),
    "RFC 850": lambda moment: moment.strftime("%A, %d-%b-%y %H:%M:%S GMT"),
    "asctime": lambda moment: moment.strftime("%a %b %e %H:%M:%S %Y"),
    "quoted": lambda moment: f'"{format_datetime(moment, usegmt=True)}"',
    "ISO 8601": lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
    "ISO 8601 with an offset": lambda moment: moment.astimezone(timezone(timedelta(hours=2))).isoformat(),
    "ISO 8601 with a blank": lambda moment: moment.strftime("%Y-%m-%d %H:%M:%S"),
    "Unix time": lambda moment: f"{moment.timestamp():.0f}",
    "Unix time with a fraction": lambda moment: f"{moment.timestamp():.3f}",
    "Unix time in milliseconds": lambda moment: f"{moment.timestamp() * 1000:.0f}",
    "in a list": lambda moment: f"0, {format_datetime(moment, usegmt=True)}",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("offset", "seconds"), [(0, 0), (90, 90), (-90, 0), (86_400, HOUR)])
def test_dates(form: str, offset: int, seconds: float) -> None:
    """A date counts from when the answer came; the past is now, and far ahead is an hour."""
    assert asked_to_wait(FORMS[form](AT + timedelta(seconds=offset))) == timedelta(seconds=seconds)


GARBAGE = [
    "", " ", '""', "soon", "७", "nan", "inf", "-", ".", "1.2.3", "30 parsecs", "0x1e", "s", "PT", "25:61:99", "1:2",
    "Thu, 99 Jan 2026 12:00:00 GMT", "Thu, 01 Jan 99999 12:00:00 GMT", "2026-13-45T12:00:00Z", ",", ",,;", "\x00",
]  # fmt: skip


@pytest.mark.parametrize("header", GARBAGE)
def test_garbage_says_no_time(header: str) -> None:
    """What says no time gives none, and a 503 with it is Mesh's word all the same: it asked to wait."""
    assert asked_to_wait(header) is None
    error = refusal(decoded(503, b"<html>", {"Retry-After": header}))
    assert isinstance(error, Unavailable)
    assert error.retry_after is None
    assert type(refusal(decoded(503, b"<html>"))) is ServerFailure


@pytest.mark.parametrize("header", ["1.5", '"30"', "30s", "2026-01-01T12:00:30Z", "30, 60"])
def test_a_503_with_a_wait_in_any_form_is_no_unknown_outcome(header: str) -> None:
    """A proxy's 503 without an envelope that asks to wait has spent no token."""
    error = refusal(decoded(503, b"", {"Retry-After": header}))
    assert isinstance(error, Unavailable)
    assert error.retry_after
    assert not error.token_may_be_spent


def test_a_continuation_keeps_what_it_was_asked() -> None:
    """Fractions, and that a wait was asked for in words that say no time, are in a continuation's document."""
    for header in ("1.5", "0.000001", "soon", "7"):
        asked = read(decoded(200, envelope(content(status="mfaRequired")), {"Retry-After": header}))
        assert isinstance(asked, MfaRequired)
        assert asked.reply.asked_to_wait
        assert MfaRequired.from_json(asked.to_json()) == without_body(asked)


_FORM = r"\A[A-Za-z]{3}, \d{1,3} [A-Za-z]{3} \d{1,5} \d{1,3}:\d{1,3}(:\d{1,3})? \S{0,6}\Z"
_PIECES = st.sampled_from(
    [
        *' \t,;:.+-"e',
        "30",
        "1.5",
        "s",
        "ms",
        "min",
        "h",
        "d",
        "T",
        "Z",
        "PT",
        "Jan",
        "GMT",
        "2026",
        "1767268830",
        "9" * 20,
    ]
)


@bounded(300)
@given(
    st.text() | st.from_regex(_FORM) | st.lists(_PIECES, max_size=9).map("".join), st.sampled_from([AT, AT.min, AT.max])
)
@example("Mon, 01 Jan 0001 00:00:00 +2359", AT)
@example("1" * 65_536 + "s", AT)
@example("1e999s -1e999s", AT)
def test_any_retry_after(header: str, at: datetime) -> None:
    """Whatever stands in Retry-After, the wait is none or lies between zero and an hour."""
    wait = asked_to_wait(header, at=at.replace(tzinfo=UTC))
    assert wait is None or timedelta() <= wait <= timedelta(hours=1)


@bounded(200)
@given(st.floats(0, 3600), st.sampled_from(["{}", " {} ", '"{}"', "{}s", "{} seconds", "+{}", "{}, 0", "0, {}"]))
def test_any_seconds(seconds: float, form: str) -> None:
    """Any number of seconds, in any dress, is waited for to the microsecond."""
    wait = asked_to_wait(form.format(seconds))
    assert wait is not None
    assert abs(wait.total_seconds() - seconds) < 2e-6
