"""Answers that still count after their exchange: of those that spent a token lately, and those that reached nobody."""

from itertools import islice
from typing import Any

from attrs import evolve, fields

from mesh_refresh.client.calls import Answered, Call, own_tokens, rotated
from mesh_refresh.client.delivery import Ref
from mesh_refresh.client.exchange import Exchange
from mesh_refresh.clock import Clock
from mesh_refresh.enums import BrokerType, known
from mesh_refresh.messages import BodyKind, HttpReply, RefreshRequest
from mesh_refresh.outcomes import Outcome, Refreshed

REMEMBERED = 30.0
"""For how many seconds a caller who still brings a spent token gets what came after it."""

_REQUEST_FIELDS = tuple(attribute.name for attribute in fields(RefreshRequest))[1:]

_Packed = tuple[Any, ...]


class Spent:
    """One answer, and who knows of it."""

    __slots__ = ("answered", "live", "told", "unreached", "until")

    def __init__(self, answered: Answered, until: float = 0.0, told: frozenset[Ref] = frozenset()) -> None:
        self.answered = answered
        self.until = until
        """Until when it answers. In the past where it does so only for as long as it has reached nobody."""
        self.told = told
        """The refs whose outcome the hook has."""
        self.unreached: tuple[Call, ...] = ()
        """The calls whose outcome is with nobody."""
        self.live: Exchange | None = None
        """Under delivery to late callers."""

    @property
    def key(self) -> str:
        """The spent token's."""
        return _key(self.answered.request.type, self.answered.request.refresh_token)


class Memory:
    """Maps spent refresh tokens to the answers that came for them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Half a minute of a busy fleet is many answers. Packed into tuples of plain values, they cost the garbage
        # collector nothing; as objects they took a fifth of the time of every refresh.
        self._spent: dict[str, Spent | _Packed] = {}
        self._kept: dict[Spent, None] = {}
        self._unsettled: dict[Exchange, Spent] = {}

    def add(self, exchange: Exchange) -> None:
        """Remember a finished exchange, where it spent a token or a code. Its callers do not have their results yet."""
        answered = exchange.answered
        if answered is None:
            return
        self._forget_old()
        call, result = exchange.call, exchange.delivery.first_result()
        spent = self._unsettled[exchange] = Spent(answered)
        if rotated(result, call.request.refresh_token):
            self._store(spent.key, spent)
        elif (key := _code_key(call)) and isinstance(result, Refreshed):
            # The refresh token is still good, but the code is used up: bringing it again gets the same answer.
            self._store(key, spent)

    def recall(self, spent: Spent, exchange: Exchange) -> None:
        """`exchange` brings a remembered answer to a late caller, and to the hook if it is told of a new ref."""
        spent.live = exchange
        exchange.delivery.told |= spent.told
        exchange.delivery.reached |= spent.told
        self._unsettled[exchange] = spent

    def recalled(self, exchange: Exchange) -> None:
        """It did; late callers from here on need another one."""
        self._unsettled[exchange].live = None

    def settle(self, exchange: Exchange) -> None:
        """No caller of a finished exchange waits any more: what reached nobody is kept until it reaches somebody."""
        spent = self._unsettled.pop(exchange, None)
        if spent is None:
            return
        delivery = exchange.delivery
        missed = {call.tokens.ref: call for call in (*spent.unreached, *delivery.unreached())}
        spent.unreached = tuple(call for ref, call in missed.items() if ref not in delivery.reached)
        spent.told |= delivery.told
        key = spent.key
        if spent.unreached:
            self._kept[spent] = None
            self._spent[key] = spent
            return
        self._kept.pop(spent, None)
        if spent.live is None and self._spent.get(key) is spent:
            self._spent[key] = _packed(spent)

    def spent_by(self, exchange: Exchange) -> Spent:
        """The answer of an exchange that is over, for one who waited for its end without a share in it."""
        return self._unsettled.get(exchange) or Spent(exchange.answered)  # type: ignore[arg-type]

    def newest(self, call: Call) -> tuple[Spent, Call] | None:
        """The last answer in the chain that begins with the token of `call`, and `call` as it stands before that one."""
        if not self._spent:
            return None
        found = self._find(_key(*call.key)) or ((key := _code_key(call)) and self._find(key)) or None
        latest, seen = None, set[str]()
        while found is not None and found.key not in seen:
            seen.add(found.key)
            latest = (found, call)
            own = own_tokens(found.answered.outcome_for(call))
            if own is None or own.refresh_token is None:
                break
            call = evolve(call, tokens=own)
            found = self._find(_key(own.broker, own.refresh_token))
        return latest

    def unreached(self) -> tuple[Outcome, ...]:
        """Every outcome that is with nobody."""
        outcomes = [spent.answered.outcome_for(call) for spent in self._kept for call in spent.unreached]
        return tuple(outcomes)  # type: ignore[arg-type]  # only calls with an outcome that holds a token are kept

    def _store(self, key: str, spent: Spent) -> None:
        spent.until = self._clock.monotonic() + REMEMBERED
        self._spent.pop(key, None)  # so that the order stays the order of the ends
        self._spent[key] = spent

    def _find(self, key: str) -> Spent | None:
        spent = self._spent.get(key)
        if spent is None or not self._lives(spent):
            return None
        if isinstance(spent, tuple):
            spent = self._spent[key] = _unpacked(spent)
        return spent

    def _lives(self, spent: Spent | _Packed) -> bool:
        if isinstance(spent, Spent) and (spent.live is not None or spent in self._kept):
            return True
        return self._clock.monotonic() < (spent.until if isinstance(spent, Spent) else spent[0])

    def _forget_old(self) -> None:
        # A few from the old end with every new one keep it as long as half a minute's exchanges, and no step is long.
        for key, spent in list(islice(self._spent.items(), 4)):
            if not self._lives(spent):
                del self._spent[key]


def _packed(spent: Spent) -> _Packed:
    answered, request, reply = spent.answered, spent.answered.request, spent.answered.reply
    return (
        spent.until,
        str(request.type),
        answered.at,
        answered.pending,
        reply.http_status,
        reply.body,
        reply.kind is not BodyKind.CUT,
        tuple(spent.told),
        *(getattr(request, name) for name in _REQUEST_FIELDS),
    )


def _unpacked(packed: _Packed) -> Spent:
    until, broker, at, pending, status, body, complete, told, *request = packed
    answered = Answered(
        RefreshRequest(known(BrokerType, broker), *request), HttpReply(status, {}, body, complete), at, at, pending
    )
    return Spent(answered, until, frozenset(told))


def _key(broker: str, token: str) -> str:
    # A string and not a tuple, for the garbage collector's sake too; no broker's name has a NUL in it.
    return f"{broker}\0{token}"


def _code_key(call: Call) -> str | None:
    code = call.request.mfa_code
    return f"{_key(*call.key)}\0{code}" if code is not None else None

