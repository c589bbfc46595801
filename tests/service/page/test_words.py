"""What the page makes of times, numbers, and text of others."""

from datetime import timedelta

import pytest

from mesh_refresh.keeper import BreakerFault
from mesh_refresh.service.page.words import FAULTS, count, moment, quoted, span, visible
from tests.keeper.making import START

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("user-7", "<bdi>user-7</bdi>"),
        ("<script>alert(1)</script>", "<bdi>&lt;script&gt;alert(1)&lt;/script&gt;</bdi>"),
        ("\"'&", "<bdi>&#34;&#39;&amp;</bdi>"),
        ("https://evil.example", "<bdi>https://evil.example</bdi>"),
        ("שלום", "<bdi>שלום</bdi>"),
    ],
)
def test_text_is_escaped_and_kept_apart(text: str, shown: str) -> None:
    """And never linked."""
    assert visible(text) == shown


@pytest.mark.parametrize(
    "char", "\u202e\u2066\u200b\u200f\u00ad\ufeff\x00\x07\x1b\n\t\x7f\x85\u2028\u00a0\u3164\u2800\ufe0f\U000e0041"
)
def test_what_cannot_be_seen_is_shown_by_its_number(char: str) -> None:
    shown = visible(f"a{char}b")
    assert char not in shown
    assert f"U+{ord(char):04X}" in shown


def test_a_long_text_is_cut() -> None:
    assert "… 400 more characters" in quoted("x" * 1000)
    assert "more" not in visible("x" * 1000)


def test_spans_and_counts() -> None:
    assert [span(seconds * SECOND) for seconds in (-3, 0, 119, 120, 7200, 172800)] == [
        "0 s",
        "0 s",
        "119 s",
        "2 min",
        "2 h",
        "2 d",
    ]
    assert count(1, "login") == "1 login"
    assert count(1234, "login") == "1\u202f234 logins"
    assert "in 5 s" in moment(START + 5 * SECOND, START)
    assert "5 s ago" in moment(START, START + 5 * SECOND)
    assert ">now<" in moment(START, START + SECOND / 2)


def test_each_fault_has_words() -> None:
    assert FAULTS.keys() == set(BreakerFault)
