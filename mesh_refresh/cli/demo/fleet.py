"""Who is in the demo's fleet, and what will happen to whom."""

from collections.abc import Iterator
from random import Random
from typing import Unpack

from attrs import define, evolve

from mesh_refresh import BrokerType
from mesh_refresh.cli.demo.rows import Row
from mesh_refresh.testing import FakeLogin, FakeMesh, Fault, Gate
from mesh_refresh.testing.options import LoginChoices

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


@define
class Fleet:
    """The rows, and the gate at which one request stands while its caller is cancelled."""

    rows: list[Row]
    cancelled: Row
    gate: Gate


def build(fake: FakeMesh, accounts: int, seed: int, *, fast: bool) -> Fleet:
    """`accounts` of them, at least `SMALLEST`."""
    random = Random(seed)  # noqa: S311 - it paces a demonstration

    def late(login: FakeLogin, most: float = 3.0) -> None:
        """Its answer takes a while, as answers of brokers do."""
        if not fast:
            fake.fail(Fault.delay(round(random.uniform(0.5, most), 2)), login=login)

    rows = list(_plain(fake))
    for row in rows:
        late(row.login)
    webull = _row(fake, BrokerType.WE_BULL, "access and trade token")
    late(webull.login)
    vanguard = _row(fake, BrokerType.VANGUARD, "wants an MFA code", mfa=True)
    late(vanguard.login, 0.8)
    family = list(_family(fake))
    late(family[0].login)
    refused = _row(fake, BrokerType.GEMINI, "revoked by its owner")
    refused.login.revoke()
    late(refused.login)
    throttled = _row(fake, BrokerType.BINANCE_US, "throttled", revokes_on_reuse=True)
    fake.fail(Fault.throttle(0 if fast else 1), login=throttled.login)
    down = _row(fake, BrokerType.CRYPTO_COM, "Mesh unavailable")
    fake.fail(Fault.unavailable(0 if fast else 1), login=down.login)
    cut = _row(fake, BrokerType.CEX_IO, "connection cut", revokes_on_reuse=True)
    fake.fail(Fault.cut(), login=cut.login)
    late(cut.login, 0.8)
    cancelled = _row(fake, BrokerType.PAXOS, "caller cancelled", revokes_on_reuse=True)
    gate = fake.hold(after_rotation=True, login=cancelled.login)
    rows += [webull, vanguard, *family, refused, throttled, down, cut, cancelled]
    for number in range(len(rows), accounts):
        extra = _row(fake, _EXTRA[number % len(_EXTRA)], "plain", number=number + 1)
        late(extra.login)
        rows.append(extra)
    return Fleet(rows, cancelled, gate)


def _plain(fake: FakeMesh) -> Iterator[Row]:
    yield _row(fake, BrokerType.COINBASE, "rotates its tokens")
    yield _row(fake, BrokerType.ROBINHOOD, "revokes on reuse", revokes_on_reuse=True)
    yield _row(fake, BrokerType.TD_AMERITRADE, "keeps its refresh token")
    yield _row(fake, BrokerType.KRAKEN, "answers at the top level", top_level=True)


def _family(fake: FakeMesh) -> Iterator[Row]:
    """Three accounts of one login, which share a refresh token."""
    login = fake.login(BrokerType.ETORO, accounts=3, revokes_on_reuse=True)
    for number, tokens in enumerate(login.tokens, 1):
        note = "one login, 3 accounts"
        yield Row(evolve(tokens, ref=f"etoro/{number}"), login, note, shares=number > 1)


def _row(fake: FakeMesh, broker: BrokerType, note: str, number: int = 1, **choices: Unpack[LoginChoices]) -> Row:
    login = fake.login(broker, ref=f"{broker}/{number}", **choices)
    return Row(login.token, login, note)
