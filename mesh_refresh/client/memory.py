"""Answers that still count after their exchange: of those that spent a token lately, and those that reached nobody."""

import asyncio
import weakref
from collections import OrderedDict
from collections.abc import Collection
from contextvars import Context

from mesh_refresh.client.answers import Answered
from mesh_refresh.client.calls import Call, own_tokens, rotated
from mesh_refresh.client.exchange import Exchange
from mesh_refresh.clock import Clock
from mesh_refresh.masking import MaskedStr
from mesh_refresh.replies.outcomes import Outcome, Refreshed

REMEMBERED = 30.0
"""For how many seconds a caller who still brings a spent token gets what came after it."""


class Memory:
    """Maps spent credentials to the answers that came for them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # In the order of their ends. A plain dict would look for its first key past all that were taken out before it.
        self._spent: OrderedDict[str, Answered] = OrderedDict()
        self._kept: dict[Answered, None] = {}
        self._recalled: dict[Answered, Exchange] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, exchange: Exchange) -> None:
        """Remember a finished exchange, where it spent a token or a code. Its callers do not have their results yet."""
        answered, call = exchange.answered, exchange.call
        if answered is None:
            return
        now = self._clock.monotonic()
        self._forget_old(now)
        result = exchange.delivery.first_result()
        key: str | None = call.key
        if not rotated(result, call):
            # The credential may still be good while the code is used up: bringing it again gets the same answer.
            key = _code_key(call) if isinstance(result, Refreshed) else None
        if key is not None:
            answered.until = now + REMEMBERED
            self._spent[key] = answered
            self._spent.move_to_end(key)
            if self._timer is None:
                self._forget_in(REMEMBERED)

    @property
    def recalled(self) -> Collection[Exchange]:
        """Every delivery to late callers that is under way."""
        return self._recalled.values()

    def recall(self, answered: Answered) -> Exchange | None:
        """The delivery to late callers that is under way, if there is one."""
        return self._recalled.get(answered)

    def begin(self, answered: Answered, exchange: Exchange) -> None:
        """`exchange` brings a remembered answer to a late caller, and to the hook if it is of a new ref."""
        self._recalled[answered] = exchange

    def end(self, exchange: Exchange) -> None:
        """It did; late callers from here on need another one."""
        if exchange.answered is not None:
            self._recalled.pop(exchange.answered, None)

    def settle(self, exchange: Exchange) -> None:
        """No caller of a finished exchange waits any more: what it owes is kept until a hook or a caller has it."""
        answered = exchange.answered
        if answered is None:
            return
        exchange.delivery.settle()
        if answered.unreached:
            self._kept[answered] = None
            self._spent[answered.key] = answered
        elif self._kept:
            self._release(answered)
        answered.compact()

    def newest(self, call: Call) -> tuple[Answered, Call] | None:
        """The last answer in the chain that begins with the token of `call`, and `call` as it stands before it."""
        found = self._find(call.key)
        if found is None and (code_key := _code_key(call)) is not None:
            found = self._find(code_key)
        if found is None:
            return None
        seen = {found}
        while True:
            own = own_tokens(found.outcome_for(call))
            key = None if own is None else call.key_for(own)
            if own is None or key is None:
                return found, call
            after = self._find(key)
            if after is None or after in seen:
                return found, call
            call, found = call.after(own), after
            seen.add(found)

    def forget(self) -> None:
        """The client is closed, and nobody brings a spent token any more: only what reached nobody is kept."""
        self._spent = OrderedDict((key, answered) for key, answered in self._spent.items() if answered in self._kept)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def unreached(self) -> tuple[Outcome, ...]:
        """Every outcome that is with nobody."""
        outcomes = [answered.outcome_for(call) for answered in self._kept for call in answered.unreached]
        return tuple(outcomes)  # type: ignore[arg-type]  # only calls with an outcome that holds a token are kept

    def _release(self, answered: Answered) -> None:
        was_kept = answered in self._kept
        self._kept.pop(answered, None)
        self._drop_what_came_before(answered)
        if was_kept and self._timer is None and answered.key in self._spent:
            self._forget_in(0.0)

    def _drop_what_came_before(self, answered: Answered) -> None:
        """What reached nobody and was refreshed on since is out of date: saving it would undo what came after."""
        for kept in list(self._kept):
            after = [(call, own_tokens(kept.outcome_for(call))) for call in kept.unreached]
            if any(own is not None and call.key_for(own) == answered.key for call, own in after):
                del self._kept[kept]

    def _find(self, key: str) -> Answered | None:
        answered = self._spent.get(key)
        return answered if answered is not None and self._lives(answered, self._clock.monotonic()) else None

    def _lives(self, answered: Answered, now: float) -> bool:
        return now < answered.until or answered in self._recalled or answered in self._kept

    def _forget_in(self, seconds: float) -> None:
        """For a client that is idle: its answers hold live tokens. In a context of its own, because timers keep it."""
        loop = asyncio.get_running_loop()
        me: weakref.ref[Memory] = weakref.ref(self)
        self._timer = loop.call_later(max(seconds, REMEMBERED / 30), _forget_all_old, me, context=Context())

    def forget_all_old(self) -> None:
        """What the half minute is over for, and come again when it is for the next."""
        self._timer, now = None, self._clock.monotonic()
        self._forget_old(now, len(self._spent))
        oldest = next(iter(self._spent.values()), None)
        if oldest is not None and now < oldest.until:
            self._forget_in(oldest.until - now)

    def _forget_old(self, now: float, most: int = 2) -> None:
        # Two from the old end for each new one: it never grows beyond half a minute's exchanges, and no step is long.
        for _ in range(most):
            key = next(iter(self._spent), None)
            if key is None or now < self._spent[key].until:
                return
            if self._lives(self._spent[key], now):
                self._spent.move_to_end(key)  # so that one that is kept for long hides no others
            else:
                del self._spent[key]


def _code_key(call: Call) -> str | None:
    code = call.request.mfa_code
    return MaskedStr(f"{call.key}\0{code}") if code is not None else None


def _forget_all_old(memory: "weakref.ref[Memory]") -> None:
    """Of a client that is still there."""
    found = memory()
    if found is not None:
        found.forget_all_old()
