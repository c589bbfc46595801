"""The fleet of the demo, and the logins to which something happens."""

from collections.abc import Iterator
from datetime import timedelta
from random import Random
from typing import Unpack

from attrs import define, evolve, field

from mesh_refresh import BrokerType
from mesh_refresh.cli.demo.pace import Pace
from mesh_refresh.testing import FakeLogin, FakeMesh
from mesh_refresh.testing.fake.options import LoginChoices

_EXTRA = (
    BrokerType.COINBASE,
    BrokerType.ROBINHOOD,
    BrokerType.GEMINI,
    BrokerType.PUBLIC,
    BrokerType.ALPACA,
    BrokerType.KU_COIN,
)
SMALLEST = 16
"""The accounts that take part in the story; further ones are plain."""
_MANY = 150
"""Logins that one machine refreshes every few seconds without effort. In a larger fleet tokens live longer."""
_ON_DEMAND = timedelta(hours=1)


@define(eq=False)
class Member:
    """One login."""

    login_id: str
    login: FakeLogin
    note: str
    """What is special about it."""
    delay: float = 0
    """Seconds until its broker answers."""

    @property
    def broker(self) -> str:
        """The name of its broker."""
        return str(self.login.broker)


@define(eq=False)
class DemoFleet:
    """All logins, and by name those to which something happens."""

    members: list[Member]
    vanguard: Member
    revoked: Member
    cut: Member
    plain: list[Member] = field(factory=list)
    """The logins whose tokens callers ask for."""
    by_id: dict[str, Member] = field(init=False)
    by_fake: dict[str, Member] = field(init=False)
    """By the id of the login at the fake Mesh."""

    def __attrs_post_init__(self) -> None:
        self.by_id = {member.login_id: member for member in self.members}
        self.by_fake = {member.login.id: member for member in self.members}

    @property
    def accounts(self) -> int:
        """The number of accounts in all logins."""
        return sum(len(member.login.tokens) for member in self.members)


@define
class _Registry:
    """Makes the logins one after the other."""

    fake: FakeMesh
    pace: Pace
    random: Random
    made: int = 0

    def make(self, broker: BrokerType, note: str, **choices: Unpack[LoginChoices]) -> Member:
        """Make a login, whose tokens live for seconds where `choices` do not say otherwise."""
        self.made += 1
        choices.setdefault("access_lifetime", timedelta(seconds=self.random.randint(*self.pace.lifetimes)))
        login = self.fake.login(broker, ref=f"user-{self.made}", **choices)
        delay = round(self.random.uniform(0.6, 1.6), 2) * self.pace.eye
        return Member(f"user-{self.made}", login, note, delay)


def build_fleet(fake: FakeMesh, accounts: int, seed: int, pace: Pace) -> DemoFleet:
    """Make a fleet of `accounts`, which are at least `SMALLEST`."""
    registry = _Registry(fake, pace, Random(seed))  # noqa: S311 - it paces a demonstration
    plain = list(_plain(registry))
    vanguard = registry.make(BrokerType.VANGUARD, "wants an MFA code", mfa=True)
    # After its code the login is refreshed on demand only. Its next tokens live longer than the demo.
    vanguard.login.options = evolve(vanguard.login.options, access_lifetime=_ON_DEMAND)
    family = registry.make(BrokerType.ETORO, "one login, 3 accounts", accounts=3, revokes_on_reuse=True)
    revoked = registry.make(BrokerType.GEMINI, "revoked by its owner")
    revoked.login.revoke()
    cut = registry.make(BrokerType.CEX_IO, "a connection is cut", revokes_on_reuse=True)
    spends = registry.make(BrokerType.BITFINEX, "spends its access token", spends_access_token=True)
    delayed = registry.make(BrokerType.INTERACTIVE_BROKERS, "usable after a day", delayed=True)
    specials = [vanguard, family, revoked, cut, spends, delayed]
    extra = [registry.make(_EXTRA[n % len(_EXTRA)], "plain") for n in range(accounts - SMALLEST)]
    slower = len(extra) / _MANY
    for member in extra if slower > 1 else ():
        lifetime = (member.login.options.access_lifetime or timedelta()) * slower
        whole = timedelta(seconds=round(lifetime.total_seconds()))
        member.login.options = evolve(member.login.options, access_lifetime=whole)
    return DemoFleet([*plain, *specials, *extra], vanguard, revoked, cut, [*plain, *extra])


def _plain(registry: _Registry) -> Iterator[Member]:
    yield registry.make(BrokerType.COINBASE, "rotates its tokens")
    yield registry.make(BrokerType.ROBINHOOD, "revokes on reuse", revokes_on_reuse=True)
    yield registry.make(BrokerType.TD_AMERITRADE, "keeps its refresh token")
    yield registry.make(BrokerType.KRAKEN, "answers at the top level", top_level=True)
    yield registry.make(BrokerType.WE_BULL, "access and trade token")
    yield registry.make(BrokerType.CRYPTO_COM, "has a token id", token_ids=True)
    yield registry.make(BrokerType.E_TRADE, "access token only", access_lifetime=_ON_DEMAND)
    yield registry.make(BrokerType.ACORNS, "managed by Mesh", token_ids=True, refreshable=False, access_lifetime=None)
