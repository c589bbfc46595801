"""Answers that count after their exchange: of exchanges that spent a token lately, and those with an outcome owed."""

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
"""For how many seconds a caller with a spent token gets the outcome of the exchange that spent it."""


class Memory:
    """Maps spent credentials to the answers that came for them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # In the order of their ends. A plain dict searches for its first key past every key that was deleted before.
        self._spent: OrderedDict[str, Answered] = OrderedDict()
        self._kept: dict[Answered, None] = {}
        self._recalled: dict[Answered, Exchange] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, exchange: Exchange) -> None:
        """Remember the answer of an exchange that spent a token or a code, before its callers have their results."""
        answered, call = exchange.answered, exchange.call
        if answered is None:
            return
        now = self._clock.monotonic()
        self._forget_old(now)
        result = exchange.delivery.first_result()
        key: str | None = call.key
        if not rotated(result, call):
            # The credential may be good still, while the code is used up: a call with both gets the same answer.
            key = _code_key(call) if isinstance(result, Refreshed) else None
        if key is not None:
            answered.until = now + REMEMBERED
            self._spent[key] = answered
            self._spent.move_to_end(key)
            if self._timer is None:
                self._forget_in(REMEMBERED)

    @property
    def recalled(self) -> Collection[Exchange]:
        """Every delivery of a remembered answer that is under way."""
        return self._recalled.values()

    def recall(self, answered: Answered) -> Exchange | None:
        """The delivery of `answered` that is under way, or None."""
        return self._recalled.get(answered)

    def begin(self, answered: Answered, exchange: Exchange) -> None:
        """Note that `exchange` delivers a remembered answer to a late caller, and to `on_outcome` for a new ref."""
        self._recalled[answered] = exchange

    def end(self, exchange: Exchange) -> None:
        """Note that `exchange` has delivered its answer: a further late caller needs another delivery."""
        if exchange.answered is not None:
            self._recalled.pop(exchange.answered, None)

    def settle(self, exchange: Exchange) -> None:
        """Keep the answer of a finished exchange, without any caller left, for as long as an outcome of it is owed."""
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
        """The last remembered answer of the chain of exchanges that begins with the token of `call`.

        With it, `call` as it stands before that answer. None where no exchange of the token is remembered.
        """
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
        """Forget the answers that owe nothing: the client is closed, and takes no further call."""
        self._spent = OrderedDict((key, answered) for key, answered in self._spent.items() if answered in self._kept)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def unreached(self) -> tuple[Outcome, ...]:
        """Every outcome that is owed."""
        outcomes = [answered.outcome_for(call) for answered in self._kept for call in answered.unreached]
        return tuple(outcomes)  # type: ignore[arg-type]  # only calls with an outcome that holds a token are kept

    def _release(self, answered: Answered) -> None:
        was_kept = answered in self._kept
        self._kept.pop(answered, None)
        self._drop_what_came_before(answered)
        if was_kept and self._timer is None and answered.key in self._spent:
            self._forget_in(0.0)

    def _drop_what_came_before(self, answered: Answered) -> None:
        """Drop the outcomes owed whose tokens `answered` renewed since: saving one would undo the newer tokens."""
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
        """Start the timer that forgets the answers of an idle client, because they hold live tokens.

        In an empty context, because a timer keeps its context, and with it all that the context refers to.
        """
        loop = asyncio.get_running_loop()
        me: weakref.ref[Memory] = weakref.ref(self)
        self._timer = loop.call_later(max(seconds, REMEMBERED / 30), _forget_all_old, me, context=Context())

    def forget_all_old(self) -> None:
        """Forget the answers whose time is over, and start the timer for the next one."""
        self._timer, now = None, self._clock.monotonic()
        self._forget_old(now, len(self._spent))
        oldest = next(iter(self._spent.values()), None)
        if oldest is not None and now < oldest.until:
            self._forget_in(oldest.until - now)

    def _forget_old(self, now: float, most: int = 2) -> None:
        # Two old answers for each new one: no more than half a minute's answers are held, and no step is long.
        for _ in range(most):
            key = next(iter(self._spent), None)
            if key is None or now < self._spent[key].until:
                return
            if self._lives(self._spent[key], now):
                self._spent.move_to_end(key)  # an answer that is kept for long must not hide older ones
            else:
                del self._spent[key]


def _code_key(call: Call) -> str | None:
    code = call.request.mfa_code
    return MaskedStr(f"{call.key}\0{code}") if code is not None else None


def _forget_all_old(memory: "weakref.ref[Memory]") -> None:
    """Forget for a client that was not freed meanwhile."""
    found = memory()
    if found is not None:
        found.forget_all_old()
