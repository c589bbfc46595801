"""Ids in paths: every text has a form, and each form has one text."""

import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_refresh import InvalidRequest
from mesh_refresh.service.api.segments import raw_segment, read_base64, read_segment, write_base64
from tests.examples import bounded

pytestmark = pytest.mark.once

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@bounded(300)
@given(TEXT)
def test_every_text_has_the_form_with_a_tilde(text: str) -> None:
    """And those that proxies leave alone have the other one too."""
    assert read_segment(f"~{write_base64(text)}") == text
    assert read_base64(write_base64(text)) == text
    if text not in (".", "..") and "/" not in text and not text.startswith("~"):
        assert read_segment(quote(text, safe="")) == text
        assert read_segment(quote(text, safe="").lower()) == text.lower() or text != text.lower()
    else:
        with pytest.raises(InvalidRequest):
            read_segment(quote(text, safe="").replace("~", "%7E"))


@pytest.mark.parametrize(
    "raw",
    [
        "",
        ".",
        "..",
        "%2e",
        "%2E.",
        ".%2e",
        "a%2Fb",
        "a%2fb",
        "%2f",
        "%7Ea",
        "%7ea",
        "%7E",
        "%7EYQ",
        "%",
        "a%",
        "a%2",
        "a%zz",
        "%ff",
        "%C3",
        "%ED%A0%80",  # half a character
        "%C0%AF",  # a slash, in more bytes than it needs
        "\udcff",
        "~",
        "~YQ==",
        "~YR",  # bits that are left over
        "~YQ%3D",
        "~_w",  # no UTF-8
        "~7aCA",
        "~Y Q",
        "~+/",
        "~YQ\n",
    ],
)
def test_what_stands_for_no_id_is_refused(raw: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_segment(raw)
    assert not raw.strip("~.%") or raw not in str(refused.value), "nothing of a request is quoted"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("user-7", "user-7"),
        ("a+b", "a+b"),
        ("a%2Bb%20c", "a+b c"),
        ("a~b", "a~b"),
        ("a%7Eb", "a~b"),
        ("...", "..."),
        ("%00", "\0"),
        ("%C3%A9", "é"),
        ("é", "é"),
        ("a%25b", "a%b"),
        ("a%252Fb", "a%2Fb"),
        ("%7B%7D", "{}"),
        ("*", "*"),
        ("%2A", "*"),
        ("a%3Fb%23c", "a?b#c"),
        ("%0A", "\n"),
        ("%F0%9F%98%80", "😀"),
        ("~Lg", "."),
        ("~Li4", ".."),
        ("~YS9i", "a/b"),
        ("~fmE", "~a"),
        (f"~{base64.urlsafe_b64encode('ÿþ?'.encode()).decode().rstrip('=')}", "ÿþ?"),
    ],
)
def test_ids_are_read_to_the_letter(raw: str, text: str) -> None:
    assert read_segment(raw) == text


def test_a_segment_is_found_below_any_path() -> None:
    """Also where the application is mounted, behind a query, and in the absolute form of a request."""
    template = "/v1/logins/{loginId}/mfa/restart"
    for before in ("", "/tokens", "http://host:80", "/a/b/v1/logins"):
        for behind in ("", "?a=/x/y", "#/x"):
            path = f"{before}/v1/logins/user%2F7/mfa/restart{behind}"
            assert raw_segment(path, template, "loginId") == "user%2F7"
    assert raw_segment("/v1/logins/", "/v1/logins/{loginId}", "loginId") == ""
