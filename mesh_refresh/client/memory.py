"""Answers that still count after their exchange: of those that spent a token lately, and those that reached nobody."""

from attrs import evolve

from mesh_refresh.client.calls import Answered, Call, own_tokens, rotated
from mesh_refresh.client.delivery import Ref
from mesh_refresh.client.exchange import Exchange
from mesh_refresh.clock import Clock
from mesh_refresh.outcomes import Outcome, Refreshed

REMEMBERED = 30.0
"""For how many seconds a caller who still brings a spent token gets what came after it."""

_Key = tuple[str, ...]
_NOBODY: frozenset[Ref] = frozenset()


class Spent:
    """One answer, and who knows of it."""

    __slots__ = ("answered", "live", "told", "unreached", "until")

    def __init__(self, answered: Answered) -> None:
        self.answered = answered
        self.until = 0.0
        """Until when it answers. In the past where it does so only for as long as it has reached nobody."""
        self.told = _NOBODY
        """The refs whose outcome the hook has."""
        self.unreached: tuple[Call, ...] = ()
        """The calls whose outcome is with nobody."""
        self.live: Exchange | None = None
        """Under delivery to late callers."""


class Memory:
    """Maps spent refresh tokens to the answers that came for them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._spent: dict[_Key, Spent] = {}
        self._kept: dict[Spent, None] = {}
        self._unsettled: dict[Exchange, Spent] = {}

    def add(self, exchange: Exchange) -> None:
        """Remember a finished exchange, where it spent a token or a code. Its callers do not have their results yet."""
        answered = exchange.answered
        if answered is None:
            return
        now = self._clock.monotonic()
        self._forget_old(now)
        call, result = exchange.call, exchange.delivery.first_result()
        spent = self._unsettled[exchange] = Spent(answered)
        # The refresh token may still be good while the code is used up: bringing it again gets the same answer.
        key = call.key if rotated(result, call.request.refresh_token) else _code_key(call)
        if key is not None and (len(key) == 2 or isinstance(result, Refreshed)):
            spent.until = now + REMEMBERED
            self._spent.pop(key, None)  # so that the order stays the order of the ends
            self._spent[key] = spent

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
        delivery, request = exchange.delivery, spent.answered.request
        if delivery.told:
            spent.told |= delivery.told
        missed = (*spent.unreached, *delivery.unreached())
        spent.unreached = tuple(
            {call.tokens.ref: call for call in missed if call.tokens.ref not in delivery.reached}.values()
        )
        if spent.unreached:
            self._kept[spent] = None
            self._spent[request.type, request.refresh_token] = spent
        else:
            self._kept.pop(spent, None)
            self._drop_what_came_before(request.refresh_token)
        spent.answered.compact()

    def spent_by(self, exchange: Exchange) -> Spent:
        """The answer of an exchange that is over, for one who waited for its end without a share in it."""
        return self._unsettled.get(exchange) or Spent(exchange.answered)  # type: ignore[arg-type]

    def newest(self, call: Call) -> tuple[Spent, Call] | None:
        """The last answer in the chain that begins with the token of `call`, and `call` as it stands before it."""
        found, code_key = self._find(call.key), _code_key(call)
        if found is None and code_key is not None:
            found = self._find(code_key)
        latest: tuple[Spent, Call] | None = None
        seen: set[Spent] = set()
        while found is not None and found not in seen:
            seen.add(found)
            latest = (found, call)
            own = own_tokens(found.answered.outcome_for(call))
            if own is None or own.refresh_token is None:
                break
            call = evolve(call, tokens=own)
            found = self._find((own.broker, own.refresh_token))
        return latest

    def unreached(self) -> tuple[Outcome, ...]:
        """Every outcome that is with nobody."""
        outcomes = [spent.answered.outcome_for(call) for spent in self._kept for call in spent.unreached]
        return tuple(outcomes)  # type: ignore[arg-type]  # only calls with an outcome that holds a token are kept

    def _drop_what_came_before(self, spent_token: str) -> None:
        """What reached nobody and was refreshed on since is out of date: saving it would undo what came after."""
        for kept in list(self._kept):
            outcomes = [kept.answered.outcome_for(call) for call in kept.unreached]
            if any(own.refresh_token == spent_token for own in map(own_tokens, outcomes) if own is not None):
                del self._kept[kept]

    def _find(self, key: _Key) -> Spent | None:
        spent = self._spent.get(key)
        return spent if spent is not None and self._lives(spent, self._clock.monotonic()) else None

    def _lives(self, spent: Spent, now: float) -> bool:
        return now < spent.until or spent.live is not None or spent in self._kept

    def _forget_old(self, now: float) -> None:
        # Two from the old end for each new one: it never grows beyond half a minute's exchanges, and no step is long.
        for _ in range(2):
            key = next(iter(self._spent), None)
            if key is None or now < self._spent[key].until:
                return
            spent = self._spent.pop(key)
            if self._lives(spent, now):
                self._spent[key] = spent  # to the new end, so that one that is kept for long hides no others


def _code_key(call: Call) -> _Key | None:
    code = call.request.mfa_code
    return (*call.key, code) if code is not None else None
