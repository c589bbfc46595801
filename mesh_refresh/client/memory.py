"""Exchanges that are over and still answer: those that spent a token lately, and those that reached nobody."""

from attrs import evolve

from mesh_refresh.client.calls import Call, own_tokens
from mesh_refresh.client.exchange import Exchange
from mesh_refresh.clock import Clock
from mesh_refresh.outcomes import Outcome, Refreshed

REMEMBERED = 30.0
"""For how many seconds a caller who still brings a spent token gets what came after it."""

_Key = tuple[str, ...]


class Memory:
    """Maps spent refresh tokens to the exchanges that spent them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._exchanges: dict[_Key, tuple[Exchange, float]] = {}
        self._kept: dict[Exchange, None] = {}

    def add(self, exchange: Exchange) -> None:
        """Remember a finished exchange, if it spent a token."""
        self._forget_old()
        if exchange.rotated:
            self._store(exchange, exchange.key)
        elif (key := _code_key(exchange.call)) and isinstance(exchange.result_for(exchange.call), Refreshed):
            # The token is still good, but the code is spent: the same one again gets the same answer.
            self._store(exchange, key)

    def settle(self, exchange: Exchange) -> None:
        """Keep `exchange` for as long as its outcome is with nobody; no caller of it waits any more."""
        if exchange.unreached():
            self._kept[exchange] = None
            self._store(exchange, exchange.key)
        elif exchange in self._kept:
            del self._kept[exchange]
            if not exchange.rotated:
                self._exchanges.pop(exchange.key, None)
        exchange.forget_callers()

    def newest(self, call: Call) -> tuple[Exchange, Call] | None:
        """The last exchange of the chain that begins with the token in `call`, and `call` as it stands before that one."""
        exchange = self._find(call.key) or ((key := _code_key(call)) and self._find(key)) or None
        if exchange is None:
            return None
        seen: set[Exchange] = set()
        latest = (exchange, call)
        while exchange is not None and exchange not in seen:
            seen.add(exchange)
            latest = (exchange, call)
            own = own_tokens(exchange.result_for(call))
            if own is None or own.refresh_token is None:
                break
            call = evolve(call, tokens=own)
            exchange = self._find((own.broker, own.refresh_token))
        return latest

    def unreached(self) -> tuple[Outcome, ...]:
        """Every outcome that is with nobody."""
        return tuple(outcome for exchange in self._kept for outcome in exchange.unreached())

    def _store(self, exchange: Exchange, key: _Key) -> None:
        self._exchanges.pop(key, None)  # so that the order stays the order of the ends
        self._exchanges[key] = (exchange, self._clock.monotonic() + REMEMBERED)

    def _find(self, key: _Key) -> Exchange | None:
        found = self._exchanges.get(key)
        if found is None:
            return None
        exchange, end = found
        return exchange if exchange in self._kept or self._clock.monotonic() < end else None

    def _forget_old(self) -> None:
        now = self._clock.monotonic()
        for key, (exchange, end) in list(self._exchanges.items()) if len(self._exchanges) < 64 else self._oldest():
            if end > now:
                break
            if exchange not in self._kept:
                del self._exchanges[key]

    def _oldest(self) -> list[tuple[_Key, tuple[Exchange, float]]]:
        found = []
        for item in self._exchanges.items():
            found.append(item)
            if len(found) == 8:
                break
        return found


def _code_key(call: Call) -> _Key | None:
    code = call.request.mfa_code
    return (*call.key, code) if code is not None else None
