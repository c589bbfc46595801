"""Sends notices as webhooks to one receiver, in the form of Standard Webhooks.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import logging
import secrets
import ssl as tls
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Self

import aiohttp

from mesh_refresh.clock import Clock, SystemClock
from mesh_refresh.errors import InvalidRequest
from mesh_refresh.keeper import Notice, NoticeKind, StopNotices, TryNoticeAgain
from mesh_refresh.masking import MaskedBytes, MaskedDict, MaskedStr, hides_locals
from mesh_refresh.observing import CombinedObserver, Observer, WebhookAttempted
from mesh_refresh.service.receiver_breaker import AT_ONCE, ReceiverBreaker
from mesh_refresh.service.webhook_form import (
    WebhookOutcome,
    WebhookReply,
    body_of,
    body_of_test,
    checked_url,
    read_reply,
)
from mesh_refresh.service.webhook_secret import generate_secret, read_secrets
from mesh_refresh.stores.errors import package_missing
from mesh_refresh.transport.by_session import reason_of
from mesh_refresh.transport.resolver import SharedResolver
from mesh_refresh.version import VERSION

_log = logging.getLogger("mesh_refresh.webhooks")

_TIMEOUT = 20.0
"""Seconds for an attempt as a whole, from looking up the name to the head of the reply."""
_IDLE = 2.0
"""Seconds that an unused connection is kept. Receivers close theirs after five or more: one that is used at that very
moment costs an attempt."""
_SHORTLY = 1.0
_GONE = "the receiver of webhooks says that it is gone (410 Gone)"


class WebhookNotTaken(TryNoticeAgain):
    """An attempt failed. The text says why in words of ours, and quotes nothing that the receiver sent."""

    def __init__(self, why: str) -> None:
        super().__init__(why=why)


class Webhooks:
    """An `on_notice` handler that posts each notice to `url`, signed with `secret`.

    Pass it to `Keeper(on_notice=...)`, and close it after the keeper: it is an async context manager, and opens its
    connections with the first notice.

    `url` begins with ``https://``, or with ``http://`` where the receiver is on this machine, and has no user name, no
    password and no fragment. `secret` is ``whsec_`` and standard base64 of 24 to 64 bytes; of two with a blank between,
    both sign, for rotation. A callable that returns it is asked before each post. `kinds` are the kinds to send; the
    default is all, and notices of other kinds count as taken. `ssl` verifies the certificate in place of the system's
    trust store. `observer` is told of each attempt.

    A reply of 2xx takes a notice. After 410 nothing more is sent by this object, an error is logged, and the notices
    wait. Everything else is tried again: other replies, redirects too, and what takes more than 20 seconds. After five
    failures in a row one attempt a minute probes whether the receiver is up again. At most ten attempts are under way.
    ``Retry-After`` holds back all attempts, for an hour at the most.

    Raises `InvalidRequest` for bad arguments, and quotes neither the URL nor the secret.
    """

    @hides_locals
    def __init__(
        self,
        url: str,
        secret: str | Callable[[], str],
        *,
        kinds: Iterable[NoticeKind | str] | None = None,
        ssl: tls.SSLContext | None = None,
        clock: Clock | None = None,
        observer: Observer | None = None,
    ) -> None:
        try:
            from standardwebhooks import Webhook  # noqa: PLC0415 - an extra
        except ImportError:
            raise package_missing("Webhooks", "standardwebhooks", "service") from None
        self._url = checked_url(url)
        self._secret, self._signer = secret, Webhook
        self._signed_with: str | None = None
        self._signers: tuple[Any, ...] = ()
        self._take_secret()
        self._kinds = _checked_kinds(kinds)
        if ssl is not None and not isinstance(ssl, tls.SSLContext):
            raise InvalidRequest("ssl takes an ssl.SSLContext: the certificate of the receiver is always verified.")
        self._ssl = ssl
        self._clock = clock or SystemClock()
        self._observer = CombinedObserver(*(() if observer is None else (observer,)))
        self._breaker = ReceiverBreaker()
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"<Webhooks to {self._url.host}>"

    @staticmethod
    def generate_secret() -> str:
        """A new secret, drawn at random. The receiver needs it too."""
        return generate_secret()

    def capacity(self) -> int:
        """How many more notices it can be given now: see `PacedHandler`."""
        return self._breaker.capacity(self._clock.monotonic())

    async def __call__(self, notice: Notice, /) -> None:
        """Post `notice` once. It is taken when this returns.

        Raises `WebhookNotTaken` where the attempt failed, `TryNoticeAgain` where no attempt may be made now, and
        `StopNotices` where the receiver is gone.
        """
        if notice.kind not in self._kinds:
            return
        now = self._clock.monotonic()
        if self._breaker.is_gone:
            raise StopNotices(_GONE)
        if not self._breaker.capacity(now):
            raise TryNoticeAgain(timedelta(seconds=max(self._breaker.wait(now), _SHORTLY)))
        self._breaker.begin()
        try:
            reply = await self._post(notice.id, body_of(notice))
        finally:
            self._breaker.end()
        self._observer.observe(WebhookAttempted(reply.outcome))
        self._settle(reply)

    async def send_test(self) -> None:
        """Post a webhook of the type ``webhook.test``, which tells nothing. Raises `WebhookNotTaken` where it fails."""
        reply = await self._post(f"test_{secrets.token_hex(16)}", body_of_test(self._clock.now()))
        if reply.outcome is not WebhookOutcome.TAKEN:
            raise WebhookNotTaken(reply.why)

    def _settle(self, reply: WebhookReply) -> None:
        """Tell the breaker what came of an attempt. Raises what the keeper has to hear."""
        match reply.outcome:
            case WebhookOutcome.TAKEN:
                if self._breaker.succeed():
                    _log.warning("the receiver of webhooks is up again", extra={"host": self._url.host})
            case WebhookOutcome.GONE:
                self._breaker.stop()
                raise StopNotices(_GONE)
            case _:
                if self._breaker.fail(self._clock.monotonic(), reply.retry_after):
                    text = "the receiver of webhooks is down (%s): it is tried once a minute, and the notices wait"
                    _log.warning(text, reply.why, extra={"host": self._url.host})
                raise WebhookNotTaken(reply.why)

    async def _post(self, webhook_id: str, body: MaskedBytes) -> WebhookReply:
        headers = self._sign(webhook_id, body)
        try:
            response = await self._opened().post(self._url, data=body, headers=headers, allow_redirects=False)
        except TimeoutError:
            return WebhookReply(WebhookOutcome.TIMED_OUT, f"it did not answer within {_TIMEOUT:.0f} seconds")
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            # aiohttp's errors hold the signature: they go no further than this.
            return WebhookReply(WebhookOutcome.NOT_REACHED, reason_of(error))
        # The rest of a reply says nothing. A connection on which it has not come whole is closed.
        response.release()
        return read_reply(response.status, response.headers.getall("Retry-After", ()), self._clock.now())

    def _sign(self, webhook_id: str, body: MaskedBytes) -> MaskedDict:
        self._take_secret()
        now = self._clock.now()
        signatures = [signer.sign(webhook_id, now, body.decode()) for signer in self._signers]
        return MaskedDict(
            {
                "webhook-id": webhook_id,
                "webhook-timestamp": str(int(now.timestamp())),
                "webhook-signature": " ".join(signatures),
            }
        )

    @hides_locals
    def _take_secret(self) -> None:
        secret = self._secret() if callable(self._secret) else self._secret
        if not self._signers or secret != self._signed_with:
            self._signers = tuple(self._signer(key) for key in read_secrets(secret))
            self._signed_with = MaskedStr(secret)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=AT_ONCE,
                    ssl=self._ssl or True,
                    keepalive_timeout=_IDLE,
                    use_dns_cache=False,
                    resolver=SharedResolver(),
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT),
                headers={"User-Agent": f"mesh_refresh/{VERSION}", "Content-Type": "application/json"},
                auto_decompress=False,  # nothing is read of a body, and none may be a bomb
            )
        return self._session

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections. Safe to call twice; leave the keeper first."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _checked_kinds(kinds: Iterable[NoticeKind | str] | None) -> frozenset[NoticeKind]:
    try:
        found = frozenset(NoticeKind if kinds is None else map(NoticeKind, kinds))
    except (TypeError, ValueError):
        found = frozenset()
    if not found:
        raise InvalidRequest(f"kinds takes some of: {', '.join(NoticeKind)}.")
    return found
