"""What a login at a fake broker is like: the ways in which brokers differ, each a value."""

from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Any, TypedDict

from attrs import Attribute, field, frozen

from mesh_refresh.enums import BrokerType


class Sharing(Enum):
    """How the accounts of one login share tokens."""

    ONE_PAIR = "one pair for all"
    """Every account has the same two strings."""
    PAIR_EACH = "a pair each"
    """Every account has a pair of its own, with a life of its own."""
    DIFFERENT_STRINGS = "different strings over one pair upstream"
    """Mesh's strings differ, but refreshing one rotates what all of them stand for."""


class Replies(Enum):
    """Which accounts a reply renews and lists."""

    ALL = "all of them"
    ASKED = "only the one asked for"


class MfaToken(Enum):
    """Where the first reply of an MFA exchange puts its new access token; no page says."""

    ENTRIES = "in brokerAccountTokens"
    TOP_LEVEL = "at the top level"
    ABSENT = "nowhere: the one in force stays"


class WrongCode(Enum):
    """How a wrong MFA code is answered; no page says."""

    REFUSED = "HTTP 400, envelope badRequest"
    FAILED = "HTTP 200, content.status failed"


def _checked_number(_: object, attribute: "Attribute[int]", value: int) -> None:
    if type(value) is not int or value < 1:
        raise ValueError(f"{attribute.name} is {value!r}: give a whole number from 1 on.")


def _checked_lifetime(_: object, attribute: "Attribute[Any]", value: Any) -> None:
    if value is not None and (value < timedelta() or value % timedelta(seconds=1)):
        raise ValueError(f"{attribute.name} is {value!r}: replies tell lifetimes in whole seconds, from 0 on.")


@frozen
class LoginOptions:
    """How one login behaves."""

    accounts: int = field(default=1, validator=_checked_number)
    rotates: bool = True
    """Each refresh spends its refresh token and gives a new one. Where False, the reply leaves ``refreshToken`` out,
    unless ``createNewRefreshToken`` asks for one, which spends the old."""
    sharing: Sharing = Sharing.ONE_PAIR
    replies_with: Replies = Replies.ALL
    revokes_on_reuse: bool = False
    """A spent refresh token that is sent again ends everything that descends from it."""
    grace: timedelta = timedelta()
    """For so long after its spending, a spent refresh token is answered with the pair that it brought."""
    access_lifetime: timedelta | None = field(default=timedelta(hours=1), validator=_checked_lifetime)
    """In whole seconds, as replies tell it. None: the reply names no lifetime."""
    refresh_lifetime: timedelta | None = field(default=None, validator=_checked_lifetime)
    mfa: bool = False
    mfa_rounds: int = field(default=1, validator=_checked_number)
    """How many codes in a row are asked for."""
    mfa_token: MfaToken = MfaToken.ENTRIES
    mfa_rotates: bool = False
    """The reply that asks for a code renews the refresh token too."""
    wrong_code: WrongCode = WrongCode.REFUSED
    top_level: bool = False
    """Replies fill only the deprecated top-level fields."""
    named: bool = False
    """Link's payload says which account an entry belongs to."""
    named_replies: bool | None = None
    """Replies say it. None: as Link's payload does."""
    token_ids: bool = False
    """Mesh manages the access token: a ``tokenId`` stands in its place."""
    delayed: bool = False
    """Link hands over ``delayedAuth``; the refresh token can be exchanged after 24 hours."""
    refreshable: bool = True
    """False: there is no refresh token at all."""
    spends_access_token: bool = False
    """As at Bitfinex: there is no refresh token. Each exchange spends the access token, which stands in the place of
    ``refreshToken`` and may have ended by then, and gives the next one. `refresh_lifetime` means nothing then. The
    client needs a strategy of its own: docs/own-strategy.md."""

    def __attrs_post_init__(self) -> None:
        others = self.mfa, self.token_ids, self.delayed, not self.rotates, not self.refreshable
        if self.spends_access_token and any(others):
            raise ValueError(
                "A login with spends_access_token rotates and is refreshable, without mfa, token_ids and delayed."
            )

    @property
    def names_in_replies(self) -> bool:
        """Whether replies say which account an entry belongs to."""
        return self.named if self.named_replies is None else self.named_replies


_EASTERN = timezone(timedelta(hours=-5))
NEEDS_ACCESS_TOKEN = frozenset({BrokerType.WE_BULL, BrokerType.VANGUARD})
"""A refresh without ``accessToken`` is refused by these."""


class Usual(Enum):
    """In place of a lifetime."""

    OF_THE_BROKER = "what is usual at the broker"


def usual_lifetimes(broker: str, now: datetime) -> tuple[timedelta, timedelta | None]:
    """How long tokens of `broker` last that are issued at `now`: access token and refresh token, as far as is known."""
    if broker == BrokerType.TD_AMERITRADE:
        return timedelta(minutes=30), timedelta(days=90)
    if broker == BrokerType.E_TRADE:
        # They end at midnight in New York; its summer time is left out.
        local = now.astimezone(_EASTERN)
        midnight = (local + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        return timedelta(seconds=max(1, int((midnight - local).total_seconds()))), None
    return timedelta(hours=1), None


class LoginChoices(TypedDict, total=False):
    """The keywords of `FakeMesh.login`: any of the fields of `LoginOptions`, which tells what each does."""

    accounts: int
    rotates: bool | None
    sharing: Sharing
    replies_with: Replies
    revokes_on_reuse: bool
    grace: timedelta
    access_lifetime: timedelta | None
    refresh_lifetime: timedelta | None
    mfa: bool
    mfa_rounds: int
    mfa_token: MfaToken
    mfa_rotates: bool
    wrong_code: WrongCode
    top_level: bool
    named: bool | None
    named_replies: bool | None
    token_ids: bool
    delayed: bool
    refreshable: bool | None
    spends_access_token: bool


def options_of(broker: str, choices: LoginChoices) -> LoginOptions:
    """The options that `choices` make, with what is usual for `broker` where they say nothing, or None."""
    usual = {
        "rotates": broker != BrokerType.TD_AMERITRADE,
        "refreshable": broker != BrokerType.E_TRADE,
        "named": choices.get("accounts", 1) > 1,
    }
    said = {name: value for name, value in choices.items() if value is not None or name not in usual}
    values: dict[str, Any] = {**usual, **said}
    return LoginOptions(**values)
