"""`lost` names exactly the accounts that cannot be refreshed with what is held: proved by trying each of them."""

import itertools
import random
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import pytest
from attrs import evolve, frozen

from mesh_refresh.testing import FakeLogin, FakeMesh, LossReason, Lost, ManualClock, Replies, Sharing
from mesh_refresh.tokens import Tokens

Place = tuple[str, str]
"""A login and one of its accounts."""
Held = dict[Place, Tokens]
KINDS = ("refresh_token", "access_token", "token_id", "trade_token")


@frozen
class Damage:
    """What a careless holder does to what it keeps."""

    name: str
    do: Callable[[Held], None]


def world() -> tuple[FakeMesh, Held]:
    """Logins of every kind, and a holder that keeps what each began with."""
    fake = FakeMesh(clock=ManualClock(), seed=1)
    logins = (
        fake.login("coinbase", accounts=2, sharing=Sharing.PAIR_EACH, replies_with=Replies.ASKED),
        fake.login("etoro", accounts=2),
        fake.login("weBull", accounts=2, sharing=Sharing.PAIR_EACH, replies_with=Replies.ASKED),
        fake.login("vanguard", token_ids=True, named=True),
        fake.login("eTrade", named=True),
        fake.login("eTrade", named=True, token_ids=True),
    )
    return fake, {
        (login.id, name): it for login in logins for name, it in zip(login.account_ids, login.tokens, strict=True)
    }


PLACES = tuple(world()[1])


def drop(place: Place, *kinds: str) -> Damage:
    """The holder leaves these out."""

    def do(held: Held) -> None:
        nothing: dict[str, Any] = dict.fromkeys(kinds)
        held[place] = evolve(held[place], **nothing)

    return Damage(f"drop {' and '.join(kinds)} of {place}", do)


def lose(place: Place) -> Damage:
    """The holder has no row for it."""
    return Damage(f"lose {place}", lambda held: held.update({place: Tokens(held[place].broker, account_id=place[1])}))


def swap(one: Place, other: Place, kind: str) -> Damage:
    """The holder keeps what is one account's for the other."""

    def do(held: Held) -> None:
        first, second = getattr(held[one], kind), getattr(held[other], kind)
        held[one], held[other] = evolve(held[one], **{kind: second}), evolve(held[other], **{kind: first})

    return Damage(f"swap {kind} of {one} and {other}", do)


def mix(one: Place, other: Place, kind: str) -> Damage:
    """The holder keeps what is one account's for the other too, in place of what that had."""
    return Damage(
        f"mix {kind} of {one} into {other}",
        lambda held: held.update({other: evolve(held[other], **{kind: getattr(held[one], kind)})}),
    )


DAMAGES = (
    *(drop(place, kind) for place in PLACES for kind in KINDS),
    *(drop(place, *kinds) for place in PLACES for kinds in itertools.combinations(KINDS, 2)),
    *map(lose, PLACES),
    *(swap(one, other, kind) for one, other in itertools.combinations(PLACES, 2) for kind in KINDS),
    *(mix(one, other, kind) for one, other in itertools.permutations(PLACES, 2) for kind in KINDS),
)


def lost_in_truth(fake: FakeMesh, held: Held) -> set[Place]:
    """Each account is tried with each row that is kept for it, at a copy of Mesh."""
    return {place for place in PLACES if not any(_saves(fake, place, row) for row in _rows_for(fake, held, place))}


def _rows_for(fake: FakeMesh, held: Held, place: Place) -> Iterable[Tokens]:
    login = fake.logins[place[0]]
    shares = login.options.sharing is Sharing.ONE_PAIR
    return [row for (name, account), row in held.items() if name == login.id and (shares or account == place[1])]


def _saves(fake: FakeMesh, place: Place, row: Tokens) -> bool:
    login = fake.logins[place[0]]
    number = login.account_ids.index(place[1])
    if not login.options.refreshable:
        return login.live[number].auth_token in (row.access_token, row.token_id)
    has_trade = login.trade_token in (None, row.trade_token)
    return has_trade and any(_renews(login.id, number, row, it) for it in {row.access_token, row.token_id})


@cache
def _renews(login: str, number: int, row: Tokens, access_token: str | None) -> bool:
    """Whether Mesh renews the account for this row, sent with that access token or token id. All worlds are equal."""
    model = world()[0].model
    body = {"type": row.broker, "refreshToken": row.refresh_token, "accessToken": access_token}
    keys = {"X-Client-Id": model.client_id, "X-Client-Secret": model.client_secret}
    answer = model.answer(keys, {name: str(value) for name, value in body.items() if value is not None})
    return answer.outcome == "succeeded" and model.logins[login].seats.all[number].refresh in answer.issued


def test_a_holder_that_keeps_everything_has_lost_nothing() -> None:
    fake, held = world()
    assert fake.lost(held.values()) == fake.lost() == []
    assert lost_in_truth(fake, held) == set()


@pytest.mark.parametrize("amount", [1, 2, 3])
def test_lost_names_exactly_what_is_lost(amount: int) -> None:
    """One careless act at a time: each of them. Two and three together: a sample, which is the same in each run."""
    chosen = [(it,) for it in DAMAGES] if amount == 1 else _sample(amount, 150)
    for damages in chosen:
        fake, held = world()
        for damage in damages:
            damage.do(held)
        found = {(it.login, it.account) for it in fake.lost(held.values())}
        assert found == lost_in_truth(fake, held), [it.name for it in damages]


def _sample(amount: int, size: int) -> list[tuple[Damage, ...]]:
    chance = random.Random(amount)
    return [tuple(chance.sample(DAMAGES, amount)) for _ in range(size)]


@pytest.mark.parametrize(
    ("number", "kind", "reason"),
    [
        (0, "refresh_token", LossReason.NOT_HELD),
        (0, "access_token", None),
        (2, "access_token", None),
        (4, "access_token", LossReason.ACCESS_TOKEN),
        (4, "trade_token", LossReason.TRADE_TOKEN),
        (6, "token_id", LossReason.TOKEN_ID),
        (7, "access_token", LossReason.NOT_HELD),
        (8, "token_id", LossReason.TOKEN_ID),
    ],
)
def test_the_reason_says_what_is_missing(number: int, kind: str, reason: LossReason | None) -> None:
    fake, held = world()
    place = PLACES[number]
    drop(place, kind).do(held)
    broker = fake.logins[place[0]].broker
    assert fake.lost(held.values()) == ([] if reason is None else [Lost(*place, broker, reason)])


def test_swapped_pairs_are_lost_both() -> None:
    """Within a login and between two: each live token is there, and is kept for another account."""
    for one, other in ((0, 1), (4, 5)):
        fake, held = world()
        swap(PLACES[one], PLACES[other], "refresh_token").do(held)
        assert [(it.account, it.reason) for it in fake.lost(held.values())] == [
            (PLACES[one][1], LossReason.SWAPPED),
            (PLACES[other][1], LossReason.SWAPPED),
        ]


def test_a_body_counts_for_what_is_in_it() -> None:
    """What was salvaged is beside a row that still has the rest."""
    fake = FakeMesh(clock=ManualClock())
    login: FakeLogin = fake.login("weBull")
    fresh = login.again()[0]
    assert fake.lost([]) == [Lost(login.id, "acc-1", "weBull", LossReason.NOT_HELD)]
    fake.ledger.held = type(fake.ledger.held)()
    fake.hold_body(f'{{"refreshToken": "{fresh.refresh_token}"}}'.encode())
    assert fake.lost() == []


def test_a_token_id_that_mesh_manages_is_not_dropped() -> None:
    """Whatever the broker: nothing says that a refresh gives a program the id which it has dropped."""
    fake = FakeMesh(clock=ManualClock())
    login = fake.login("coinbase", token_ids=True)
    assert fake.lost([login.token]) == []
    assert fake.lost([evolve(login.token, token_id=None)]) == [Lost(login.id, "acc-1", "coinbase", LossReason.TOKEN_ID)]
