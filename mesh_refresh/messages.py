"""Mesh's messages in Mesh's words, with nothing but their meaning: no bytes, no I/O, no clock.

Every field of a reply may be absent or null, and is None then: no schema of the page requires one.

Source: https://docs.meshconnect.com/api-reference/managed-account-authentication/refresh-auth-token
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from enum import Enum
from typing import Any

from attrs import evolve, field, frozen

from mesh_refresh.blank import some
from mesh_refresh.enums import ApiStatus, AuthStatus, BrokerType
from mesh_refresh.errors import ReplyFacts
from mesh_refresh.masking import masked, masked_size, masked_values, scrubbed

REQUEST_IDS = (
    "X-Request-Id", "Request-Id", "X-Correlation-Id", "X-Ms-Request-Id", "X-Amzn-Trace-Id", "X-Amz-Cf-Id",
    "traceparent", "CF-Ray", "X-Azure-Ref", "X-Cloud-Trace-Context", "Date",
)  # fmt: skip
"""Headers that identify a request for Mesh's support, or for the operator of a proxy before it; and its date."""

_LONGEST_HASH = 16
_FREE = ("message", "display_message", "error_hash", "error_type", "error_data", "team_code")
"""The fields of a reply that a server can write freely."""


def _shown_if_known(status: ApiStatus | AuthStatus | str | None) -> str:
    """A `repr` of an open enumeration: a member is shown. Other text is masked, because it may quote a secret."""
    return masked(status) if type(status) is str else repr(status)


def _nowhere(reply: "HttpReply") -> None:
    """Drops a late reply: for a request without an exchange."""


@frozen
class HttpRequest:
    """What a transport sends, as one POST."""

    url: str
    headers: Mapping[str, str] = field(repr=masked_values)
    body: bytes = field(repr=masked_size)
    before_send: Callable[[], Awaitable[None]] = field(repr=False, eq=False)
    """The transport awaits it once, when it has a connection and before the first byte. A transport that cannot tell
    awaits it first of all. An error that it raises must go through: nothing is sent then."""
    late: Callable[["HttpReply"], None] = field(default=_nowhere, repr=False, eq=False)
    """A transport that can tell calls it with what came too late: the reply, after `send` was cancelled without one, or
    bytes that came on the connection behind the reply, as a `HttpReply.behind`. Either may be the only copy of a token.
    It returns at once and raises nothing."""


@frozen
class HttpReply:
    """The reply that a transport returns."""

    status: int
    """0 where no status could be read."""
    headers: Mapping[str, str] = field(repr=masked_values)
    """Names may be in any case."""
    body: bytes = field(repr=masked_size)
    complete: bool = True
    """False where the connection was cut inside the body, or the body was over the limit: `body` is what came."""
    raw: bytes = field(default=b"", repr=masked_size)
    """All bytes of the reply as they came, with its head, where `body` may not be all of it: the framing was wrong, or
    there is a `surplus`. Empty otherwise, and from a transport that does not keep them."""
    surplus: bytes = field(default=b"", repr=masked_size)
    """The bytes behind the reply, at the end of `raw`: the rest of a body that is longer than its framing says, or a
    second reply."""
    fault: str | None = None
    """What was wrong with the framing, in words that quote nothing of the reply."""

    @classmethod
    def behind(cls, data: bytes) -> "HttpReply":
        """Bytes that came on a connection behind a reply."""
        return cls(0, {}, b"", complete=False, surplus=data)

    @property
    def is_behind(self) -> bool:
        """Whether it is nothing but bytes that came behind a reply."""
        return bool(self.surplus) and not (self.status or self.body or self.raw)


@frozen
class RefreshRequest:
    """The body of ``POST /api/v1/token/refresh``. What is None is left out, never sent as null."""

    type: BrokerType | str
    refresh_token: str = field(repr=masked)
    create_new_refresh_token: bool | None = None
    """Ask for a new refresh token too (TD Ameritrade)."""
    access_token: str | None = field(default=None, repr=masked)
    """WeBull and Vanguard require it."""
    trade_token: str | None = field(default=None, repr=masked)
    """Updates WeBull's trade token."""
    mfa_code: str | None = field(default=None, repr=masked)
    metadata: Mapping[str, str | None] | None = field(default=None, repr=masked_values)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Everything in it that must not be shown."""
        values: tuple[str | None, ...] = (self.refresh_token, self.access_token, self.trade_token, self.mfa_code)
        if self.metadata:
            values += tuple(self.metadata.values())
        return tuple(filter(None, values))


@frozen
class BrokerFiatBalance:
    """A balance in one currency.

    Amounts are floats because the contract declares ``double``: what arrives has been through one already, and a
    float shows up to 15 significant digits exactly as the reply wrote them.
    """

    symbol: str | None = field(default=None, repr=masked)
    """Masked in reprs, as all text is that a server can write freely: some quote what they were sent."""
    buying_power: float | None = None
    crypto_buying_power: float | None = None
    cash: float | None = None


@frozen
class BrokerAccount:
    """An account at a broker. Amounts are floats; `BrokerFiatBalance` says why."""

    mesh_account_id: str | None = None
    front_account_id: str | None = field(default=None, repr=masked)
    """Deprecated by Mesh."""
    account_id: str | None = None
    account_name: str | None = field(default=None, repr=masked)
    fund: float | None = None
    """Buying power: cash and, for a margin account, the margin."""
    cash: float | None = None
    """In USD."""
    is_reconnected: bool | None = None
    balances: tuple[BrokerFiatBalance, ...] = ()


@frozen
class BrokerAccountTokens:
    """The tokens of one account."""

    account: BrokerAccount | None = None
    access_token: str | None = field(default=None, repr=masked, converter=some)
    """None where it is blank, as the two below."""
    refresh_token: str | None = field(default=None, repr=masked, converter=some)
    token_id: str | None = field(default=None, repr=masked, converter=some)
    """Stands where Mesh manages the token itself, and is passed where an access token would be."""

    @property
    def has_token(self) -> bool:
        """Whether there is any token in it."""
        return bool(self.access_token or self.refresh_token or self.token_id)


@frozen
class BrokerRefreshTokenResponse:
    """The ``content`` of a reply (the page's ``B2BBrokerRefreshTokenResponse``)."""

    status: AuthStatus | str | None = field(default=None, repr=_shown_if_known)
    error_message: str | None = field(default=None, repr=masked)
    account: BrokerAccount | None = None
    """Deprecated by Mesh, and the only one that some brokers fill; so are the two tokens below."""
    access_token: str | None = field(default=None, repr=masked, converter=some)
    refresh_token: str | None = field(default=None, repr=masked, converter=some)
    expires_in: timedelta | None = None
    """``expiresInSeconds``, one for all tokens of the reply; None where it was absent, zero or negative."""
    refresh_token_expires_in: timedelta | None = None
    """``refreshTokenExpiresInSeconds``, likewise."""
    broker_account_tokens: tuple[BrokerAccountTokens, ...] = ()

    @property
    def top_level(self) -> BrokerAccountTokens:
        """The deprecated top-level account and tokens, in the form of an entry."""
        return BrokerAccountTokens(self.account, self.access_token, self.refresh_token)

    @property
    def all_entries(self) -> tuple[BrokerAccountTokens, ...]:
        """Every place of it where a token may stand: the listed entries, then the deprecated top level."""
        return (*self.broker_account_tokens, self.top_level)

    @property
    def has_token(self) -> bool:
        """Whether there is any token in it, at any place."""
        return any(entry.has_token for entry in self.all_entries)


class BodyKind(Enum):
    """What a reply's body turned out to be."""

    ENVELOPE = "Mesh's envelope"
    PROBLEM = "ProblemDetails (RFC 9457)"
    OTHER_JSON = "JSON of another kind"
    TEXT = "text or HTML"
    EMPTY = "empty"
    BROKEN = "broken JSON"
    CUT = "cut short"
    COMPRESSED = "compressed in a way that cannot be undone"


@frozen
class Reply:
    """A reply of Mesh: the envelope, with the HTTP status it came under and the bytes it was read from."""

    http_status: int
    kind: BodyKind
    status: ApiStatus | str | None = field(default=None, repr=_shown_if_known)
    message: str | None = field(default=None, repr=masked)
    """In reprs all that a server can write freely is masked: some quote what they were sent."""
    display_message: str | None = field(default=None, repr=masked)
    error_hash: str | None = field(default=None, repr=masked)
    error_type: str | None = field(default=None, repr=masked)
    error_data: object = field(default=None, repr=False)
    """Of any shape; what Mesh put in it is kept as it came."""
    team_code: str | None = field(default=None, repr=masked)
    content: BrokerRefreshTokenResponse | None = None
    retry_after: timedelta | None = None
    """From ``Retry-After``, as a delay counted from the answer; None too where that cannot be read."""
    body: bytes = field(default=b"", repr=masked_size)
    asked_to_wait: bool = False
    """Whether there was a ``Retry-After`` header, in any form."""
    fault: str | None = None
    """What was wrong with the framing, in words that quote nothing of the reply."""
    salvaged: bool = False
    """Whether the envelope was found whole in bytes that were no reply as they stood."""
    request_ids: Mapping[str, str] = field(factory=dict, repr=masked_values, hash=False)
    """What identifies the request for Mesh's support, by the header's name, and the ``Date`` of the answer."""

    @property
    def says_something(self) -> bool:
        """Whether it has free text of the server, which may quote a secret.

        A known status is no free text, nor is a short hash: an ordinary success has none.
        """
        if self.message or self.display_message or self.error_data or self.error_type or self.team_code:
            return True
        text = self.error_hash
        if type(self.status) is str or (text and not (len(text) <= _LONGEST_HASH and text.isalnum())):
            return True
        content = self.content
        return content is not None and (type(content.status) is str or bool(content.error_message))

    def scrubbed(self, secrets: tuple[str, ...]) -> "Reply":
        """This reply with `secrets` blotted out of the texts of its envelope. The body stays as it came."""
        shown = self.request_ids.values()
        if not (self.says_something or any([secret in value for value in shown for secret in secrets])):
            return self

        # The longest first: a secret may begin with another one, and the rest of it would be left.
        secrets = tuple(sorted(secrets, key=len, reverse=True))

        def clean(value: Any) -> Any:
            return scrubbed(value, secrets)

        def clean_status(status: Any) -> Any:
            return clean(status) if type(status) is str else status  # a member decides what the reply means

        content = self.content
        if content is not None:
            content = evolve(content, status=clean_status(content.status), error_message=clean(content.error_message))
        return evolve(
            self,
            content=content,
            status=clean_status(self.status),
            **{name: clean(getattr(self, name)) for name in _FREE},
            request_ids={name: clean(value) for name, value in self.request_ids.items()},
        )

    @property
    def facts(self) -> ReplyFacts:
        """What errors tell of it."""
        if self.kind not in (BodyKind.ENVELOPE, BodyKind.PROBLEM, BodyKind.OTHER_JSON):
            return ReplyFacts(self.http_status, request_ids=self.request_ids)
        return ReplyFacts(
            self.http_status,
            self.status,
            self.error_type,
            self.error_hash,
            self.team_code,
            self.message or (self.content.error_message if self.content else None),
            self.display_message,
            self.error_data,
            self.request_ids,
        )


@frozen
class LinkPayload:
    """What Link hands to your front end: ``accessTokenPayload``, or the ``delayedAuth`` form of it."""

    broker_type: BrokerType | str
    account_tokens: tuple[BrokerAccountTokens, ...] = ()
    expires_in: timedelta | None = None
    refresh_token_expires_in: timedelta | None = None
    delayed: bool = False
    """True for ``delayedAuth``: the refresh token can be exchanged after 24 hours, and there is no access token."""
    trade_token: str | None = field(default=None, repr=masked)
    """WeBull's. Link does not hand it over; programs store it beside the rest."""
    broker_name: str | None = None
