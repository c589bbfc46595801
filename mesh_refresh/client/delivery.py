"""Bringing the result of an exchange to its hook and its callers, each caller's made for its own account."""

import asyncio
import itertools
import logging
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import cast

from mesh_refresh.client.calls import NOBODY, Call, Ref, Result, holds_live_token
from mesh_refresh.client.shell import Hook, Shell
from mesh_refresh.outcomes import NotSaved, Outcome, UnreadableReply
from mesh_refresh.tasks import CancelledForGood, run_foreign

_log = logging.getLogger("mesh_refresh")

_NONE: Mapping[Ref, NotSaved] = MappingProxyType({})

being_told: ContextVar[int | None] = ContextVar("mesh_refresh_being_told", default=None)
"""The number of the delivery whose hook this is: waiting for it would be waiting for oneself. Not the delivery itself,
because timers keep the context in which they were made, and with it all that is in there."""
_numbers = itertools.count()


class Participant:
    """One caller of an exchange."""

    __slots__ = ("call", "done", "gone", "ref", "result")

    def __init__(self, call: Call, loop: asyncio.AbstractEventLoop) -> None:
        self.call = call
        self.ref = call.ref
        self.done: asyncio.Future[None] = loop.create_future()
        self.result: Result | None = None
        """What the exchange means for its account, once somebody asked."""
        self.gone = False
        """It was cancelled, or has its result."""


class Delivery:
    """The callers of one exchange, and what became of their outcomes."""

    __slots__ = ("_failures", "_is_late", "_participants", "_result_for", "_shell", "number", "reached", "told")

    def __init__(self, shell: Shell, result_for: Callable[[Call], Result], *, is_late: bool = False) -> None:
        self._shell = shell
        self._is_late = is_late
        self._result_for = result_for
        self.number = next(_numbers)
        self._participants: list[Participant] = []
        # Empty until needed: thousands of pending refreshes have none of these.
        self._failures: Mapping[Ref, NotSaved] = _NONE
        self.told: frozenset[Ref] = NOBODY
        """The refs whose outcome is with the hook."""
        self.reached: frozenset[Ref] = NOBODY
        """The refs whose outcome is with the hook or a caller."""

    def join(self, call: Call) -> Participant:
        """Count a caller in."""
        participant = Participant(call, self._shell.loop)
        self._participants.append(participant)
        return participant

    @property
    def wanted(self) -> bool:
        """Whether any caller still waits."""
        return any(not participant.gone for participant in self._participants)

    def results(self) -> dict[Ref, tuple[Call, Result]]:
        """Of each ref, a call and what came of it."""
        return {participant.ref: (participant.call, self._result(participant)) for participant in self._participants}

    def first_result(self) -> Result:
        """That of the caller who began."""
        return self._result(self._participants[0])

    def forget_results(self) -> None:
        """There will be another attempt."""
        for participant in self._participants:
            participant.result = None

    async def save(self) -> None:
        """Tell the hook, once for each ref; callers who join meanwhile are counted in."""
        while (found := self._next_to_tell()) is not None:
            await self._tell(*found)

    def hand_out(self) -> None:
        """Wake every caller. Nothing is awaited in here, so nobody can join in between."""
        for participant in self._participants:
            self._result(participant)
            if not participant.done.done():
                participant.done.set_result(None)
        # Every result is made now. Without this, exchange and delivery hold each other, and a refresh leaves two dozen
        # objects to the garbage collector: four per cent of its CPU.
        del self._result_for

    def received(self, participant: Participant) -> Result:
        """What a caller is handed; it is with a caller from here on."""
        participant.gone = True
        self.reached |= {participant.ref}
        result, failure = self._result(participant), self._failures.get(participant.ref)
        if failure is None or not participant.call.sending.hook or not holds_live_token(result):
            return result
        error = failure.for_another()
        error.outcomes = (cast("Outcome", result),)
        return error

    def unreached(self) -> tuple[Call, ...]:
        """The calls whose outcome holds a live token and is with nobody, one for each ref."""
        missed = {
            participant.ref: participant.call
            for participant in self._participants
            if participant.ref not in self.reached and holds_live_token(self._result(participant))
        }
        return tuple(missed.values())

    def _result(self, participant: Participant) -> Result:
        if participant.result is None:
            participant.result = self._result_for(participant.call)
        return participant.result

    def _next_to_tell(self) -> tuple[Hook, Participant] | None:
        for participant in self._participants:
            ref, hook = participant.ref, self._hook_of(participant.call)
            if hook is None or ref in self.told or ref in self._failures:
                continue
            if holds_live_token(self._result(participant)):
                return hook, participant
        return None

    def _hook_of(self, call: Call) -> Hook | None:
        if call.sending.hook:
            return self._shell.on_outcome
        return call.sending.on_late if self._is_late else None

    async def _tell(self, hook: Hook, participant: Participant) -> None:
        ref, outcome = participant.ref, cast("Outcome", self._result(participant))
        cause: Exception | None = None
        reset = being_told.set(self.number)
        try:
            await run_foreign(lambda: hook(outcome), timeout=self._shell.hook_timeout)
        except (asyncio.CancelledError, CancelledForGood):
            why = "was cancelled"
        except TimeoutError as error:
            cause, why = error, f"took longer than {self._shell.hook_timeout:g} s, or raised TimeoutError"
        except Exception as error:  # noqa: BLE001 - a hook of the user's may raise anything
            cause, why = error, f"raised {type(error).__name__}"
        else:
            self.told |= {ref}
            self.reached |= {ref}
            return
        finally:
            being_told.reset(reset)
        came = (
            "A reply that may hold a token came" if isinstance(outcome, UnreadableReply) else "The exchange succeeded"
        )
        failure = NotSaved(f"{came}, but on_outcome {why}.", (outcome,))
        failure.__cause__ = cause
        for note in getattr(cause, "__notes__", ()):
            failure.add_note(note)
        self._failures = {**self._failures, ref: failure}
        _log.error("on_outcome %s; the outcome goes to its caller, or is kept", why)
