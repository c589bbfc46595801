"""The secret, the URL, the body and the meaning of a reply: what is decided before and after the network."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from mesh_refresh import InvalidRequest
from mesh_refresh.keeper import NoticeKind
from mesh_refresh.service import Webhooks
from mesh_refresh.service.webhook_form import WebhookOutcome, body_of, read_reply
from mesh_refresh.service.webhook_secret import read_secrets
from tests.service.notices import NOTICE, OTHER_SECRET, SECRET

URL = "https://receiver.example/hooks"
AT = datetime(2026, 11, 23, 16, tzinfo=UTC)


def secret_of(size: int) -> str:
    return "whsec_" + base64.b64encode(b"\xfb" * size).decode()


@pytest.mark.parametrize("size", [24, 25, 32, 64])
def test_a_secret_of_24_to_64_bytes_is_one(size: int) -> None:
    assert read_secrets(secret_of(size)) == (b"\xfb" * size,)


def test_two_secrets_with_a_blank_between() -> None:
    assert len(read_secrets(f"{SECRET} {OTHER_SECRET}")) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        " ",
        "a password",
        "whsec_",
        SECRET.removeprefix("whsec_"),
        SECRET.replace("whsec_", "WHSEC_"),
        "whsec_" + SECRET,
        secret_of(23),
        secret_of(65),
        secret_of(25).rstrip("="),
        secret_of(24).replace("+", "-").replace("/", "_"),
        secret_of(25)[:-3] + "x==",  # the same bytes, written in another way
        SECRET + "\n",
        " " + SECRET,
        f"{SECRET}  {OTHER_SECRET}",
        f"{SECRET},{OTHER_SECRET}",
        f"{SECRET} {SECRET} {SECRET}",
        SECRET.replace("M", "\u041c"),
        SECRET.encode(),
        None,
    ],
)
def test_what_is_no_secret_is_refused_and_not_shown(wrong: str) -> None:
    with pytest.raises(InvalidRequest, match="whsec_ and standard base64 of 24 to 64 bytes") as raised:
        Webhooks(URL, wrong)
    shown = str(raised.value)
    assert "MfKQ" not in shown
    assert "password" not in shown


def test_a_made_secret_is_one_and_no_other_is_the_same() -> None:
    made = {Webhooks.generate_secret() for _ in range(10)}
    assert len(made) == 10
    assert {len(read_secrets(secret)[0]) for secret in made} == {32}


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "https://receiver.example",
        "https://10.0.0.7:8443/a/b?team=c",
        "https://[fd00::1]/hooks",
        "http://127.0.0.1:8000/hooks",
        "http://localhost/hooks",
        "http://[::1]:8000/",
    ],
)
def test_https_and_loopback_are_taken(url: str) -> None:
    Webhooks(url, SECRET)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "receiver.example/hooks",
        "ftp://receiver.example",
        "https://",
        "https:///hooks",
        "http://receiver.example/hooks",
        "http://10.0.0.7/hooks",
        "http://169.254.169.254/latest",
        "http://127.0.0.1.receiver.example/",
        "http://localhost.receiver.example/",
        "https://user:hunter2@receiver.example/hooks",
        "https://hunter2@receiver.example/hooks",
        "https://@receiver.example/hooks",
        "http://127.0.0.1\\@receiver.example/hooks",
        "http://127.0.0.1@receiver.example/hooks",
        "https://receiver.example/hooks#hunter2",
        "https://receiver.example/hooks#",
        "https://receiver.example:99999/hooks?hunter2",
        "https://receiver example/hooks?hunter2",
        "https://receiver.example/hooks\r\nX-Hunter2: 1",
        "https://receiver.example/ hooks?hunter2",
        None,
        7,
    ],
)
def test_other_urls_are_refused_and_not_shown(url: str) -> None:
    with pytest.raises(InvalidRequest, match="URL") as raised:
        Webhooks(url, SECRET)
    assert "hunter2" not in str(raised.value).lower()


@pytest.mark.parametrize("kinds", [[], ["reconnect"], "recovered", 7, [None]])
def test_kinds_that_are_none_are_refused(kinds: list[str]) -> None:
    with pytest.raises(InvalidRequest, match=r"kinds takes some of: reconnect_required, "):
        Webhooks(URL, SECRET, kinds=kinds)


def test_a_certificate_is_always_verified() -> None:
    with pytest.raises(InvalidRequest, match="SSLContext"):
        Webhooks(URL, SECRET, ssl=False)  # type: ignore[arg-type]


def test_a_repr_has_the_host_and_no_more() -> None:
    assert repr(Webhooks(f"{URL}?hunter2", SECRET)) == "<Webhooks to receiver.example>"


def test_the_body() -> None:
    assert json.loads(body_of(NOTICE)) == {
        "type": "login.reconnect_required",
        "timestamp": "2026-11-23T16:00:00.250000Z",
        "data": {
            "loginId": "user-7",
            "accountId": "account-1",
            "brokerType": "coinbase",
            "sequence": 3,
            "reason": "refused",
            "displayMessage": "Log in again",
            "pendingId": None,
            "endsAt": None,
        },
    }


@given(st.text(), st.text())
def test_a_body_is_ascii_whatever_brokers_write(login_id: str, message: str) -> None:
    body = body_of(evolve(NOTICE, login_id=login_id, display_message=message, ends_at=AT))
    assert body.isascii()
    data = json.loads(body)["data"]
    assert (data["loginId"], data["displayMessage"], data["endsAt"]) == (login_id, message, "2026-11-23T16:00:00Z")


@pytest.mark.parametrize("kind", NoticeKind)
def test_each_kind_has_the_same_fields(kind: NoticeKind) -> None:
    document = json.loads(body_of(evolve(NOTICE, kind=kind)))
    assert document["type"] == f"login.{kind}"
    assert document["data"].keys() == json.loads(body_of(NOTICE))["data"].keys()


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, WebhookOutcome.TAKEN),
        (299, WebhookOutcome.TAKEN),
        (302, WebhookOutcome.REFUSED),
        (304, WebhookOutcome.REFUSED),
        (400, WebhookOutcome.REFUSED),
        (404, WebhookOutcome.REFUSED),
        (410, WebhookOutcome.GONE),
        (429, WebhookOutcome.THROTTLED),
        (500, WebhookOutcome.FAILED),
        (503, WebhookOutcome.FAILED),
        (999, WebhookOutcome.FAILED),
    ],
)
def test_what_a_status_means(status: int, outcome: WebhookOutcome) -> None:
    assert read_reply(status, (), AT).outcome is outcome


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ([], None),
        (["30"], timedelta(seconds=30)),
        (["Mon, 23 Nov 2026 16:02:00 GMT"], timedelta(minutes=2)),
        (["Mon, 23 Nov 2026 15:00:00 GMT"], timedelta(0)),
        (["31536000"], timedelta(hours=1)),
        (["5", "7"], timedelta(seconds=7)),
        (["\x00 soon"], None),
    ],
)
def test_retry_after_as_seconds_or_a_date_for_an_hour_at_the_most(headers: list[str], wait: timedelta | None) -> None:
    assert read_reply(503, headers, AT).retry_after == wait
