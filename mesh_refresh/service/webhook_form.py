"""What a webhook looks like, where it may go, and what a reply to it means. Pure.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from urllib.parse import urlsplit

from attrs import frozen
from yarl import URL

from mesh_refresh.client.keys import is_loopback
from mesh_refresh.codec.retry_after import read_retry_after
from mesh_refresh.errors import InvalidRequest
from mesh_refresh.keeper.notices import Notice
from mesh_refresh.masking import MaskedBytes, hides_locals


class WebhookOutcome(StrEnum):
    """What came of an attempt."""

    TAKEN = "taken"
    GONE = "gone"
    THROTTLED = "throttled"
    REFUSED = "refused"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    NOT_REACHED = "not_reached"


@frozen
class WebhookReply:
    """What came of an attempt, in words of ours: a receiver may send back what it was sent."""

    outcome: WebhookOutcome
    why: str = ""
    retry_after: timedelta | None = None
    """For how long the receiver wants no attempt."""


def body_of(notice: Notice) -> MaskedBytes:
    """The body of a webhook. All of its bytes are ASCII: no proxy has a reason to change one."""
    data = {
        "loginId": notice.login_id,
        "accountId": notice.account_id,
        "brokerType": notice.broker,
        "sequence": notice.sequence,
        "reason": notice.reason,
        "displayMessage": notice.display_message,
        "pendingId": notice.pending_id,
        "endsAt": None if notice.ends_at is None else _iso(notice.ends_at),
    }
    return _body(f"login.{notice.kind}", notice.at, data)


def body_of_test(now: datetime) -> MaskedBytes:
    """The body of a webhook that tries a receiver, and tells nothing."""
    return _body("webhook.test", now, {})


def _body(kind: str, at: datetime, data: dict[str, str | int | None]) -> MaskedBytes:
    document = {"type": kind, "timestamp": _iso(at), "data": data}
    return MaskedBytes(json.dumps(document, separators=(",", ":")).encode())


def read_reply(status: int, retry_after: Sequence[str], at: datetime) -> WebhookReply:
    """What a reply means. Only its status and ``Retry-After`` count."""
    if 200 <= status < 300:
        return WebhookReply(WebhookOutcome.TAKEN)
    wait = read_retry_after(", ".join(retry_after), at)
    if status == 410:
        return WebhookReply(WebhookOutcome.GONE, "HTTP 410, which says that it is gone")
    if status == 429:
        return WebhookReply(WebhookOutcome.THROTTLED, "HTTP 429", wait)
    if 300 <= status < 400:
        return WebhookReply(WebhookOutcome.REFUSED, f"HTTP {status}, a redirect, which is not followed", wait)
    outcome = WebhookOutcome.REFUSED if 400 <= status < 500 else WebhookOutcome.FAILED
    return WebhookReply(outcome, f"HTTP {status}", wait)


@hides_locals
def checked_url(url: object) -> URL:
    """Where webhooks go. Raises `InvalidRequest`, which quotes at most the host: a path or a query may be a secret."""
    wrong = InvalidRequest("The webhook URL must be a URL such as https://example.com/webhooks.")
    if not isinstance(url, str) or not url.isprintable() or " " in url or "\\" in url:
        raise wrong
    try:
        found = URL(url)
        host, authority = found.host, urlsplit(url).netloc  # yarl drops a user name without letters
    except ValueError:
        raise wrong from None
    if found.scheme not in ("http", "https") or not host:
        raise InvalidRequest("The webhook URL must begin with https:// and name a host.")
    if "@" in authority or "#" in url:
        raise InvalidRequest(
            "The webhook URL must have no user name, password or fragment: the signature says who sends."
        )
    if found.scheme == "http" and not is_loopback(host):
        raise InvalidRequest(
            f"Plain http to {host} would show what it is told on the way: use https for the webhook URL."
        )
    return found


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
