"""What one seed decides before its world begins."""

from datetime import timedelta
from random import Random
from typing import Any

from attrs import evolve, frozen

from mesh_refresh import BrokerType, RetryPolicy
from mesh_refresh.keeper import Policy
from mesh_refresh.testing import Delivery, Fault, MfaToken, Replies, Sharing, WrongCode

MIXED_UP = "mixed-up replies"
BROKEN_EDGES = "broken edges"
ODD_STRATEGIES = "odd strategies"
AGES = "ages"
RESTARTS = "restarts"
COPIES = "copies"
NEIGHBOURS = "neighbours"
NOTICES = "notices"
MIXED_FLEETS = "mixed fleets"
MOVING = (COPIES, NOTICES)
"""Worlds with two stores."""
KINDS = (
    "calm", "stormy", "outages", "jumps", "long outages", MIXED_UP,
    BROKEN_EDGES, ODD_STRATEGIES, AGES, RESTARTS, COPIES, NEIGHBOURS, NOTICES, MIXED_FLEETS,
)  # fmt: skip
"""Of worlds. In long outages, stores stay away for longer than keepers wait, so that tokens may die. Where replies are
mixed up, a proxy answers some requests with a reply to somebody else; behind broken edges, replies come damaged, early,
or with others behind them. Odd strategies keep tokens in forms of their own. In ages, tokens live for years, logins
have up to five accounts, and clocks jump by years and back. Restarts are many, at any step, beside late replies and
stores that are slow or hang. Copies move the fleet between two stores, in both directions. Neighbours are logins, and
at times a broker, with a fault that lasts, beside healthy ones and in fine weather. Notices have handlers that fail,
hang and die, outboxes that lose acknowledgements, and two stores as copies have. Mixed fleets have a login of each way
in which brokers differ, in fine weather: what needs no alarm must give none."""

BITFINEX = str(BrokerType.BITFINEX_DIRECT)
_BROKERS = ("coinbase", "robinhood", "kraken", "etoro", "paxos", BrokerType.WE_BULL, BrokerType.VANGUARD)


_WIDE = (ODD_STRATEGIES, AGES, RESTARTS, *MOVING)
"""Worlds in which more happens to each login, and operators do more."""
_TEN_YEARS = timedelta(days=3650)

_MIXED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("acorns", {"token_ids": True, "refreshable": False}),
    ("eTrade", {"refreshable": False, "access_lifetime": timedelta(days=3)}),
    ("eTrade", {"refreshable": False}),
    ("interactiveBrokers", {"delayed": True}),
    ("coinbase", {"revokes_on_reuse": True}),
    ("tdAmeritrade", {"rotates": False}),
    ("etoro", {"accounts": 3, "named": True}),
    (BrokerType.VANGUARD, {"mfa": True}),
    (BrokerType.WE_BULL, {"revokes_on_reuse": True}),
    (BITFINEX, {"spends_access_token": True, "revokes_on_reuse": True}),
    (BITFINEX, {"spends_access_token": True, "accounts": 2, "named": True}),
)
"""A mixed fleet: managed by Mesh, access tokens only, delayed, rotating and not, several accounts, codes, two tokens,
and an access token that is spent."""


def seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


@frozen
class Choices:
    """One world, as drawn."""

    kind: str
    deadline: float
    """In seconds: what everything else is measured in."""
    latency: float
    policy: Policy
    keepers: int
    logins: int
    span: float
    """How long the weather lasts."""
    spool: tuple[bool, ...]
    jumps: bool
    crashes: float
    """How many to expect in all."""
    outages: float
    faults: float
    callers: int
    restarts: float = 0.7
    copies: float = 0.0
    operators: float = 1.0
    """How often each verb of operators is used, about."""

    @property
    def retry(self) -> RetryPolicy:
        return RetryPolicy(deadline=seconds(self.deadline))


def drawn(kind: str, chance: Random) -> Choices:
    unit = chance.choice((5.0, 5.0, 20.0) if kind == "outages" else (5.0, 20.0, 60.0))
    keepers = chance.choice((2, 2, 2, 3)) if kind == "outages" else chance.randint(1 + (kind == "long outages"), 3)
    if kind == MIXED_FLEETS:
        unit = 60.0
    span = unit * chance.uniform(40, 120)
    found = _drawn(kind, chance, unit, keepers, span)
    if kind in _WIDE:
        found = evolve(found, logins=min(found.logins, 12), span=min(span, unit * 60), operators=4.0)
    if kind == AGES:
        return evolve(found, policy=evolve(found.policy, keep_alive=seconds(unit * chance.choice((5, 15)))), jumps=True)
    if kind == RESTARTS:
        policy = evolve(found.policy, drain=seconds(unit * chance.choice((0.05, 0.3, 3.0))))
        latency = chance.choice((0.001, unit / 20))
        return evolve(found, policy=policy, restarts=chance.uniform(10, 25), crashes=0.0, latency=latency)
    if kind == NEIGHBOURS:
        policy = evolve(
            found.policy, concurrency=chance.choice((5, 50)), concurrency_each=None, rate=None, rate_each=None
        )
        return evolve(found, policy=policy, crashes=0.0, faults=0.0, outages=0.0, restarts=0.0, operators=0.0)
    if kind == MIXED_FLEETS:
        return evolve(found, crashes=0.0, outages=0.0, faults=0.0, operators=2.0, logins=2 * len(_MIXED))
    if kind == NOTICES:
        found = evolve(found, logins=min(found.logins, 6), span=min(span, unit * 30))
    if kind in MOVING:
        return evolve(found, keepers=2 * keepers, spool=found.spool * 2, copies=chance.uniform(3, 6), outages=0.0)
    return found


def _drawn(kind: str, chance: Random, unit: float, keepers: int, span: float) -> Choices:
    stormy = kind in ("stormy", "long outages")
    return Choices(
        kind,
        unit,
        chance.choice((0.0, 0.001, unit / 100)),
        _policy(unit, chance, outages=kind == "outages"),
        keepers,
        chance.randint(3, 40),
        span,
        tuple(chance.random() < 0.5 for _ in range(keepers)),
        kind == "jumps",
        0 if kind == "calm" else chance.uniform(0, 8),
        chance.uniform(2, 12) if kind in ("outages", "long outages") else chance.choice((0.0, 1.0)) * stormy,
        chance.uniform(0, 60) * (3 if stormy else 1) * (kind != "calm"),
        chance.randint(0, 6),
    )


def _policy(unit: float, chance: Random, *, outages: bool) -> Policy:
    backoff = unit * chance.choice((0.1, 0.5, 1.0))
    again = seconds(unit * (chance.uniform(1.5, 3) if outages else chance.uniform(0.5, 2)))
    caps: dict[str, Any] = {"resend_after_cap": seconds(unit * 20)} if hasattr(Policy, "resend_after_cap") else {}
    return Policy(
        **caps,
        refresh_before=seconds(unit * chance.choice((2, 10))),
        refresh_fraction=chance.choice((0.2, 0.4)),
        spread=chance.choice((0.0, 1.0)),
        hard_margin=seconds(unit * chance.choice((0.2, 1.0))),
        refresh_token_before=seconds(unit * 20),
        min_interval=seconds(unit * chance.choice((0.1, 0.5, 1.0))),
        keep_alive=seconds(unit * 15) if chance.random() < 0.3 else None,
        # Leases that outages outlast, and others who then wait for long enough.
        lease=seconds(unit * (chance.uniform(1.15, 1.5) if outages else chance.uniform(1.2, 3))),
        resend_after=again,
        confirm_after=again,
        backoff=seconds(backoff),
        backoff_cap=seconds(backoff * 8),
        max_wait=seconds(unit * chance.choice((0, 1, 4))),
        mfa_wait=seconds(unit * 10),
        concurrency=chance.choice((1, 3, 50)),
        concurrency_each=chance.choice((None, None, 1, 5)),
        rate=chance.choice((None, None, None, 30 / unit)),
        rate_each=chance.choice((None, None, None, 15 / unit)),
        cool_down=seconds(unit * chance.choice((0.2, 1.0))),
        cool_down_cap=seconds(unit * 3),
        halt_probe=seconds(unit * 2),
        unknown_run=chance.choice((2, 10)),
        refusal_logins=chance.choice((2, 20)),
        refusal_window=seconds(unit * 20),
        refusal_trust=seconds(unit * 20),
        poll=seconds(unit / (20 if outages else 5)),
        drain=seconds(unit * 3),
        event_queue=chance.choice((5, 10_000)),
    )


def login_choices(unit: float, chance: Random, kind: str, number: int) -> tuple[str, dict[str, Any]]:
    """The login of a person, the first of whom has the number 0: its broker, and how it behaves."""
    if kind == MIXED_FLEETS:
        broker, own = _MIXED[number % len(_MIXED)]
        return broker, {"access_lifetime": timedelta(minutes=chance.randint(10, 30)), **own}
    broker, choices = _login_choices(unit, chance)
    if kind in (AGES, ODD_STRATEGIES, *MOVING):
        choices["accounts"] = chance.randint(1, 5)
        choices["named"] = choices["named"] if choices["accounts"] == 1 else True
        choices["delayed"] = False
    if kind == NEIGHBOURS:
        choices |= {"mfa": False, "refreshable": True, "delayed": False}
    draw = chance.random()
    if kind in (AGES, RESTARTS) and draw < 0.4:
        choices |= {"accounts": 2, "named": True, "delayed": False, "rotates": False, "mfa": False}
        sharing = Sharing.PAIR_EACH if draw < 0.1 else Sharing.ONE_PAIR
        choices |= {"sharing": sharing, "replies_with": Replies.ALL, "top_level": False}
    elif kind == AGES and draw < 0.7:
        # Each reply brings the others a new refresh token, and no access token.
        choices |= {"accounts": max(2, choices["accounts"]), "named": True, "rotates": True, "mfa": False}
        choices |= {"sharing": Sharing.ONE_PAIR, "replies_with": Replies.ASKED, "top_level": False}
    if kind == AGES and chance.random() < 0.5:
        choices["access_lifetime"] = chance.choice((None, _TEN_YEARS))
    return broker, choices


def _login_choices(unit: float, chance: Random) -> tuple[str, dict[str, Any]]:
    broker = chance.choice(_BROKERS)
    accounts = chance.choice((1, 1, 1, 2, 3))
    mfa = chance.random() < 0.15
    lifetime: timedelta | None = seconds(round(max(4, unit * chance.choice((3, 6, 12, 30)))))
    if chance.random() < 0.1:
        lifetime = chance.choice((None, seconds(7200)))
    refreshable = chance.random() < 0.96
    choices: dict[str, Any] = {
        "accounts": accounts,
        "rotates": chance.random() < 0.85,
        "sharing": chance.choice(tuple(Sharing)),
        "replies_with": chance.choice(tuple(Replies)),
        "revokes_on_reuse": chance.random() < 0.6,
        "grace": seconds(chance.choice((0, 0, unit * 2))),
        "access_lifetime": lifetime,
        "refresh_lifetime": seconds(round(unit * chance.uniform(100, 400))) if chance.random() < 0.2 else None,
        "mfa": mfa,
        "mfa_rounds": chance.choice((1, 1, 2)),
        "mfa_token": chance.choice(tuple(MfaToken)),
        "mfa_rotates": chance.random() < 0.3,
        "wrong_code": chance.choice(tuple(WrongCode)),
        "top_level": chance.random() < 0.1,
        "named": True if accounts > 1 else chance.choice((True, False)),
        "token_ids": chance.random() < (0.1 if refreshable else 0.35),  # without a refresh token: managed
        "delayed": refreshable and accounts == 1 and not mfa and chance.random() < 0.03,
        "refreshable": refreshable,
    }
    if choices["sharing"] is Sharing.DIFFERENT_STRINGS and chance.random() < 0.6:
        # Else a third of the logins with several accounts are such of which no client can know what is spent.
        choices |= {"replies_with": Replies.ALL, "top_level": False, "mfa_rotates": False}
    return str(broker), choices


# Without these: a bare delay, which `fault` draws anew with waits that fit the world.
_FAULTS = tuple(fault for name, fault in Fault.all().items() if not name.startswith("delay"))
_HARMLESS = tuple(fault for fault in _FAULTS if fault.delivery not in (Delivery.BURIED, Delivery.WITHHELD))
_LATE = (Fault.cut(after_rotation=True), Fault.server_error(after_rotation=True))
_FATAL = 0.12
"""Of all faults, those that end a token which nobody has then: more of them, and there is not much left to look at."""


def fault(unit: float, chance: Random, most: float, *, jumps: bool) -> Fault:
    """One of every kind; a third of them slow, up to `most` seconds and so past the deadline."""
    fatal = chance.random() < _FATAL
    if chance.random() < 0.35:
        slow = seconds(chance.uniform(0, most) if chance.random() < 0.4 else chance.uniform(0, unit / 2))
        late = chance.choice(_LATE) if fatal else Fault.none()
        late = evolve(late, name=f"slow, {late.name}")
        # After its work, Mesh is slow within the deadline, or the pair is lost to it.
        after = chance.random() < 0.5
        if not after:
            return late.waiting(before=slow)
        return late.waiting(after=slow if fatal else min(slow, seconds(unit / 2)))
    if fatal:
        return chance.choice((Fault.cut(after_rotation=True), Fault.half_body(), *_FAULTS))
    found = chance.choice((Fault.cut(), *_HARMLESS))
    # Where clocks jump, a date can be a day away, and a keeper rightly waits for it (up to a cap).
    return Fault.throttle(3) if jumps and found.name == "throttle with a date" else found


REFUSING = frozenset({
    "refuse", "failed", "envelope badRequest", "echo 400", "quotes 400", "repeats under badRequest",
})  # fmt: skip
"""Faults by which good tokens are refused, so that a keeper may rightly park the account."""
