"""The tokens of one account, as a value."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

from attrs import field, fields, frozen

from mesh_refresh import codec, validation
from mesh_refresh.blank import some
from mesh_refresh.enums import BrokerType, known, named_broker
from mesh_refresh.errors import InvalidRequest
from mesh_refresh.masking import MaskedDict, hides_locals, masked, masked_values
from mesh_refresh.messages import BrokerAccount, BrokerAccountTokens, LinkPayload

DELAYED_AUTH = timedelta(hours=24)
"""How long after a first connection a ``delayedAuth`` refresh token can be exchanged (Interactive Brokers)."""

_DOCUMENT = "mesh_refresh.tokens"
_VERSION = 1


@frozen(init=False)
class Tokens:
    """The tokens of one account at one broker, and what is needed to refresh them. Secrets are masked in its `repr`.

    Everything but the broker is optional. Datetimes are aware, in UTC. A blank string counts as None, as does a word
    for nothing, such as "null". A wrong type raises `InvalidRequest`, which is a `ValueError`.
    """

    broker: BrokerType | str
    """A `BrokerType`, or any other non-empty string: Mesh adds brokers faster than anyone releases. A known name in
    another case, such as "webull", is that broker."""
    refresh_token: str | None = field(repr=masked)
    """Opaque, and kept to the byte, as all tokens are."""
    access_token: str | None = field(repr=masked)
    trade_token: str | None = field(repr=masked)
    """WeBull's. Mesh never returns it, so it is carried over."""
    token_id: str | None = field(repr=masked)
    """Stands where Mesh manages the token itself."""
    metadata: Mapping[str, str | None] | None = field(repr=masked_values, hash=False)
    """Sent along as it is."""
    account_id: str | None
    """The broker's id of the account."""
    mesh_account_id: str | None
    account_name: str | None = field(repr=masked)
    """What the broker calls the account. Never sent."""
    broker_name: str | None
    """What Link calls the broker. Never sent."""
    ref: str | int | None
    """Your own key for this account. Never sent; carried to the account that was asked for, and to no other."""
    obtained_at: datetime | None
    expires_at: datetime | None
    """When the access token (or token id) ends; None: unknown."""
    refresh_token_expires_at: datetime | None
    """When the refresh token ends; renew it before, with ``create_new_refresh_token=True``."""
    not_before: datetime | None
    """The refresh token cannot be exchanged before this (delayed authentication)."""

    def __init__(
        self,
        broker: BrokerType | str,
        refresh_token: str | None = None,
        *,
        access_token: str | None = None,
        trade_token: str | None = None,
        token_id: str | None = None,
        metadata: Mapping[str, str | None] | None = None,
        account_id: str | None = None,
        mesh_account_id: str | None = None,
        account_name: str | None = None,
        broker_name: str | None = None,
        ref: str | int | None = None,
        obtained_at: datetime | None = None,
        expires_at: datetime | None = None,
        refresh_token_expires_at: datetime | None = None,
        not_before: datetime | None = None,
    ) -> None:
        moments = (obtained_at, expires_at, refresh_token_expires_at, not_before)
        tokens = (refresh_token, access_token, trade_token, token_id)
        names = (account_id, mesh_account_id, account_name, broker_name)
        wrong = (
            validation.wrong_broker(broker)
            or validation.wrong_texts((*tokens, *names))
            or (metadata is not None and validation.wrong_metadata(metadata))
            or (ref is not None and validation.wrong_ref(ref))
            or (moments != validation.NO_MOMENTS and validation.wrong_moments(moments))
        )
        if wrong:
            # `hides_locals` would do this, but type checkers read the fields of an attrs class here.
            del self, broker, refresh_token, access_token, trade_token, token_id, tokens, names, metadata, ref
            raise InvalidRequest(wrong)
        self.__attrs_init__(  # pyright: ignore[reportAttributeAccessIssue] - attrs makes it
            named_broker(broker),
            some(refresh_token),
            some(access_token),
            some(trade_token),
            some(token_id),
            None if metadata is None else {str(key): value for key, value in metadata.items()},
            some(account_id),
            some(mesh_account_id),
            some(account_name),
            some(broker_name),
            ref,
            *(moments if moments == validation.NO_MOMENTS else map(validation.in_utc, moments)),
        )

    @property
    def auth_token(self) -> str | None:
        """The auth token that the next call to Mesh needs: the access token, else the token id."""
        return self.access_token or self.token_id

    @property
    def secrets(self) -> tuple[str, ...]:
        """Everything in it that must not be shown."""
        values = (self.refresh_token, self.access_token, self.trade_token, self.token_id)
        return tuple(filter(None, values))

    @classmethod
    @hides_locals
    def from_link(
        cls,
        payload: Mapping[str, Any] | str | bytes | bytearray | memoryview,
        *,
        obtained_at: datetime | None = None,
        ref: str | int | None = None,
    ) -> tuple["Tokens", ...]:
        """The tokens in what Link handed over: one for each account, each with `ref`.

        `payload` is Link's ``accessTokenPayload`` or ``delayedAuth``, or a single account with its tokens beside
        ``brokerType``: as a mapping of any type, or as JSON text, bare or inside the event of the SDKs. Lifetimes count
        from `obtained_at`, which is now unless you say otherwise. Delayed authentication gets a `not_before`. Raises
        `InvalidRequest` where there is no broker or no token in it, and where a token, an id or a lifetime is there and
        cannot be read; the message names it. A lifetime that is absent, zero or negative is unknown.

        Source: https://docs.meshconnect.com/guides/web-sdk
        """
        link = codec.read_link_payload(payload)
        if isinstance(link, str):
            raise InvalidRequest(link)
        wrong = validation.wrong_moments((obtained_at, None, None, None))
        if wrong:
            raise InvalidRequest(wrong)
        at = obtained_at or datetime.now(UTC)
        return tuple(_linked(entry, link, at, ref) for entry in link.account_tokens)

    def renewed(
        self,
        refresh_token: str | None,
        access_token: str | None,
        token_id: str | None,
        account: tuple[str | None, str | None, str | None],
        moments: tuple[datetime, datetime | None, datetime | None],
    ) -> "Tokens":
        """These tokens after a reply, with the other fields carried over. The arguments are not checked.

        `account` has both ids and the name.
        """
        tokens = Tokens.__new__(Tokens)
        tokens.__attrs_init__(  # pyright: ignore[reportAttributeAccessIssue]
            self.broker,
            refresh_token,
            access_token,
            self.trade_token,
            token_id,
            self.metadata,
            *account,
            self.broker_name,
            self.ref,
            moments[0],
            moments[1],
            moments[2],
            None,
        )
        return tokens

    def to_link(self) -> dict[str, str]:
        """These tokens as one of the ``accessTokens`` of Link's SDKs, for a person who comes back to Link.

        A token id stands where Mesh manages the token. An id or a name that is not known is an empty string, because
        Link wants text. Raises `InvalidRequest` where there is neither an access token nor a token id.

        Source: https://docs.meshconnect.com/guides/web-sdk
        """
        if self.auth_token is None:
            raise InvalidRequest("These tokens have no access token for Link yet: refresh them first.")
        return MaskedDict(
            accountId=self.account_id or "",
            accountName=self.account_name or "",
            accessToken=self.auth_token,
            brokerType=str(self.broker),
            brokerName=self.broker_name or "",
        )

    def to_json(self) -> str:
        """All of it as a JSON document, secrets in plain text: keep it where tokens are kept."""
        return codec.dumps(self.to_document())

    @classmethod
    @hides_locals
    def from_json(cls, text: str | bytes | bytearray | memoryview) -> "Tokens":
        """The tokens that `to_json` wrote. Raises `InvalidRequest` for anything else."""
        document = codec.read_document(text)
        if isinstance(document, str):
            raise InvalidRequest(f"This is not a tokens document: it {document}.")
        return cls.from_document(document)

    def to_document(self) -> dict[str, Any]:
        """What `to_json` writes, before it becomes text; for documents that hold several."""
        document = MaskedDict(format=_DOCUMENT, version=_VERSION)
        for name in _FIELDS:
            value = getattr(self, name)
            if value is not None:
                document[name] = value.isoformat() if isinstance(value, datetime) else value
        return document

    @classmethod
    @hides_locals
    def from_document(cls, document: Mapping[str, Any]) -> "Tokens":
        """The tokens that `to_document` wrote, in a mapping of any type. Raises `InvalidRequest` for anything else."""
        found = codec.read_mapping(document)
        if isinstance(found, str):
            raise InvalidRequest(f"This is not a tokens document: it {found}.")
        check_format(found, _DOCUMENT, _VERSION)
        values = {name: found[name] for name in _FIELDS if found.get(name) is not None}
        try:
            if "ref" in values:
                values["ref"] = _read_ref(values["ref"])
            for name in validation.MOMENTS:
                if name in values:
                    values[name] = _read_moment(name, values[name])
            return cls(values.pop("broker", ""), **values)
        except InvalidRequest:
            if (twice := codec.repeated(found)) is None:
                raise
        raise InvalidRequest(f"This tokens document cannot be read: {twice} stands there twice, with different values.")


_FIELDS = tuple(attribute.name for attribute in fields(Tokens))
_PLACES = {name: place for place, name in enumerate(_FIELDS)}
_MOMENTS_AT = _PLACES["obtained_at"]

fields_of: Callable[[Tokens], tuple[Any, ...]] = attrgetter(*_FIELDS)
"""The fields of tokens in their order, for a document that keeps millions. `tokens_of` reads them."""


def tokens_of(values: Sequence[Any]) -> Tokens:
    """The tokens with these fields, as JSON gives back what `fields_of` gave. They are not checked again."""
    broker, *texts = values[:_MOMENTS_AT]
    moments = [None if moment is None else datetime.fromisoformat(moment) for moment in values[_MOMENTS_AT:]]
    return _unchecked((known(BrokerType, broker), *texts, *moments))


def with_fields(tokens: Tokens, **fields: Any) -> Tokens:
    """`tokens` with these fields, which other tokens have had: as `attrs.evolve`, and not checked again."""
    values = [*fields_of(tokens)]
    for name, value in fields.items():
        values[_PLACES[name]] = value
    return _unchecked(values)


def _unchecked(values: Iterable[Any]) -> Tokens:
    tokens = Tokens.__new__(Tokens)
    tokens.__attrs_init__(*values)  # pyright: ignore[reportAttributeAccessIssue] - attrs makes it
    return tokens


@hides_locals
def check_format(document: Mapping[str, Any], name: str, version: int) -> None:
    """Raises `InvalidRequest` unless `document` says that it is a `name` of a version that can be read."""
    found = document.get("format")
    if type(found) is not str:
        found = codec.text_of(found)
    if isinstance(found, codec.Wrong):
        raise InvalidRequest(f'This is not a {name} document: its "format" {found.why}.')
    if found is None and codec.is_link_payload(document):
        raise InvalidRequest(f"This is not a {name} document, but a Link payload: Tokens.from_link reads it.")
    if found is None:
        raise InvalidRequest(f'This is not a {name} document: it has no "format".')
    if found != name:
        raise InvalidRequest(f'This is not a {name} document: its "format" says otherwise.')
    number = document.get("version")
    if isinstance(number, str | bytes):
        raise InvalidRequest(f'This {name} document cannot be read: its "version" has become text.')
    # Databases give numbers back in types of their own: `Decimal`, or a float.
    whole = codec.whole_of(number)
    if whole is None or not 1 <= whole <= version:
        raise InvalidRequest(f"This {name} document is of a version that this mesh_refresh cannot read: update it.")


def _read_moment(name: str, value: object) -> datetime:
    if isinstance(value, datetime):
        return value  # a time without a zone is refused where it is checked
    try:
        return datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        pass
    raise InvalidRequest(f"{name} in the tokens document is not an ISO 8601 time.")


def _read_ref(value: object) -> object:
    """A whole number of another type as `int`; any other value as it is, and `Tokens` checks it."""
    whole = None if isinstance(value, str | int) else codec.whole_of(value)
    return value if whole is None else whole


def _linked(entry: BrokerAccountTokens, link: LinkPayload, at: datetime, ref: str | int | None) -> Tokens:
    account = entry.account or BrokerAccount()
    refresh_ends = link.refresh_token_expires_in if entry.refresh_token else None
    return Tokens(
        link.broker_type,
        entry.refresh_token,
        access_token=entry.access_token,
        trade_token=link.trade_token,
        token_id=entry.token_id,
        account_id=account.account_id,
        mesh_account_id=account.mesh_account_id,
        account_name=account.account_name,
        broker_name=link.broker_name,
        ref=ref,
        obtained_at=at,
        expires_at=at + link.expires_in if link.expires_in and (entry.access_token or entry.token_id) else None,
        refresh_token_expires_at=at + refresh_ends if refresh_ends else None,
        not_before=at + DELAYED_AUTH if link.delayed else None,
    )
