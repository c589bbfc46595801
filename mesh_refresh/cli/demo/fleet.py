"""Who is in the demo's fleet, and what will happen to whom."""

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
SMALLEST = 14
"""The accounts that show something; more are plain ones."""
_MANY = 150
"""Logins that one machine refreshes every few seconds without breaking into a sweat; more live longer."""
_ON_DEMAND = timedelta(hours=1)


@define(eq=False)
class Member:
    """One login."""

    login_id: str
    login: FakeLogin
    note: str
    """What is special about it."""
    delay: float = 0
    """Seconds that its broker takes to answer."""

    @property
    def broker(self) -> str:
        """Where it is."""
        return str(self.login.broker)


@define(eq=False)
class DemoFleet:
    """All of them, and by name those to whom something happens."""

    members: list[Member]
    vanguard: Member
    revoked: Member
    cut: Member
    plain: list[Member] = field(factory=list)
    """Those that callers ask for."""
    by_id: dict[str, Member] = field(init=False)
    by_fake: dict[str, Member] = field(init=False)
    """By the fake's name for the login."""

    def __attrs_post_init__(self) -> None:
        self.by_id = {member.login_id: member for member in self.members}
        self.by_fake = {member.login.id: member for member in self.members}

    @property
    def accounts(self) -> int:
        """How many there are in all logins."""
        return sum(len(member.login.tokens) for member in self.members)


@define
class _Registry:
    """Makes members one after the other."""

    fake: FakeMesh
    pace: Pace
    random: Random
    made: int = 0

    def member(self, broker: BrokerType, note: str, **choices: Unpack[LoginChoices]) -> Member:
        """A login with tokens that live for seconds."""
        self.made += 1
        choices["access_lifetime"] = timedelta(seconds=self.random.randint(*self.pace.lifetimes))
        login = self.fake.login(broker, ref=f"user-{self.made}", **choices)
        delay = round(self.random.uniform(0.6, 1.6), 2) * self.pace.eye
        return Member(f"user-{self.made}", login, note, delay)


def build(fake: FakeMesh, accounts: int, seed: int, pace: Pace) -> DemoFleet:
    """`accounts` of them, at least `SMALLEST`."""
    registry = _Registry(fake, pace, Random(seed))  # noqa: S311 - it paces a demonstration
    plain = list(_plain(registry))
    vanguard = registry.member(BrokerType.VANGUARD, "wants an MFA code", mfa=True)
    # Nobody is to be asked for a code again and again, so it is refreshed on demand from then on, and lives longer.
    vanguard.login.options = evolve(vanguard.login.options, access_lifetime=_ON_DEMAND)
    family = registry.member(BrokerType.ETORO, "one login, 3 accounts", accounts=3, revokes_on_reuse=True)
    revoked = registry.member(BrokerType.GEMINI, "revoked by its owner")
    revoked.login.revoke()
    cut = registry.member(BrokerType.CEX_IO, "a connection is cut", revokes_on_reuse=True)
    specials = [vanguard, family, revoked, cut]
    extra = [registry.member(_EXTRA[n % len(_EXTRA)], "plain") for n in range(accounts - SMALLEST)]
    slower = len(extra) / _MANY
    for member in extra if slower > 1 else ():
        lifetime = (member.login.options.access_lifetime or timedelta()) * slower
        whole = timedelta(seconds=round(lifetime.total_seconds()))
        member.login.options = evolve(member.login.options, access_lifetime=whole)
    return DemoFleet([*plain, *specials, *extra], vanguard, revoked, cut, [*plain, *extra])


def _plain(registry: _Registry) -> Iterator[Member]:
    yield registry.member(BrokerType.COINBASE, "rotates its tokens")
    yield registry.member(BrokerType.ROBINHOOD, "revokes on reuse", revokes_on_reuse=True)
    yield registry.member(BrokerType.TD_AMERITRADE, "keeps its refresh token")
    yield registry.member(BrokerType.KRAKEN, "answers at the top level", top_level=True)
    yield registry.member(BrokerType.WE_BULL, "access and trade token")
    yield registry.member(BrokerType.BINANCE_US, "revokes on reuse", revokes_on_reuse=True)
    yield registry.member(BrokerType.CRYPTO_COM, "has a token id", token_ids=True)
    yield registry.member(BrokerType.PAXOS, "revokes on reuse", revokes_on_reuse=True)
