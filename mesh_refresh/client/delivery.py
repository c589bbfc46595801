"""Bringing the result of an exchange to `on_outcome` and to its callers, made for the account of each caller."""

import asyncio
import concurrent.futures
import inspect
import itertools
import logging
from collections.abc import Callable, Mapping
from contextvars import Context, ContextVar, copy_context
from types import MappingProxyType
from typing import cast

from attrs import define, field

from mesh_refresh.client.answers import Answered
from mesh_refresh.client.calls import NO_REFS, Call, Ref, Result, holds_live_token
from mesh_refresh.client.options import Hook
from mesh_refresh.client.runtime import ClientRuntime
from mesh_refresh.replies.outcomes import NotSaved, Outcome, UnreadableReply
from mesh_refresh.tasks import CancelledForGood, ExchangeTask, call_hook, run_foreign

_log = logging.getLogger("mesh_refresh")

_MOST_NESTED = 2
"""How many awaitables in a row are awaited, each returned by the one before, of which the hook returned the first."""

_NONE: Mapping[Ref, NotSaved] = MappingProxyType({})

working_for: ContextVar[int | None] = ContextVar("mesh_refresh_working_for", default=None)
"""In code of the user's (hook, transport, secret): the number of the delivery that waits for it.

That code must not wait for this delivery. A number and not the delivery itself, because timers keep the context in
which they were made, and with it all that the context refers to."""
_numbers = itertools.count()


class Participant:
    """One caller of an exchange."""

    __slots__ = ("call", "context", "done", "gone", "ref", "result")

    def __init__(self, call: Call, loop: asyncio.AbstractEventLoop, context: Context | None) -> None:
        self.call = call
        self.ref = call.ref
        self.context = context
        """The context variables that `on_outcome` sees: those of the caller at the time when it joined."""
        self.done: asyncio.Future[None] = loop.create_future()
        self.result: Result | None = None
        """What the exchange means for its account. None: not made yet."""
        self.gone = False
        """Whether the caller was cancelled, or has its result."""

    def wake(self) -> None:
        """Wake the caller: its result is made, and `on_outcome` has it where it is called."""
        if not self.done.done():
            self.done.set_result(None)


@define(eq=False, repr=False, weakref_slot=False)
class Deliveries:
    """The callers of one exchange, and the calls of `on_outcome` for their outcomes."""

    _runtime: ClientRuntime
    _result_for: Callable[[Call], Result]
    _is_late: bool = field(default=False, kw_only=True, alias="is_late")
    number: int = field(factory=_numbers.__next__)
    _participants: list[Participant] = field(factory=list)
    # No containers until they are needed: thousands of refreshes may be pending.
    _failures: Mapping[Ref, NotSaved] = _NONE
    _begun: tuple[Ref, ...] | None = None
    """The refs for which `on_outcome` was called. None until `save` calls it."""
    _tellings: "frozenset[asyncio.Task[None]]" = frozenset()
    _answered: Answered | None = None
    """The answer that is delivered, with the ledger of who has it. None: an error is, and nothing is owed."""

    def join(self, call: Call, context: Context | None = None) -> Participant:
        """Add a caller. `on_outcome` runs in `context`, which is a copy of the current one unless given."""
        if context is None and self._hook_of(call) is not None:
            context = copy_context()
        participant = Participant(call, self._runtime.loop, context)
        self._participants.append(participant)
        if self._begun is not None:
            self._serve(participant)
        return participant

    @property
    def wanted(self) -> bool:
        """Whether any caller still waits."""
        return not all([participant.gone for participant in self._participants])

    def by_ref(self) -> dict[Ref, tuple[Participant, Result]]:
        """Of each ref, one caller and its result."""
        return {participant.ref: (participant, self._result(participant)) for participant in self._participants}

    def first_result(self) -> Result:
        """The result of the caller that began the exchange."""
        return self._result(self._participants[0])

    def forget_results(self) -> None:
        """Drop the results: there will be another request."""
        for participant in self._participants:
            participant.result = None

    async def save(self, answered: Answered | None) -> None:
        """Call `on_outcome` once for each ref, for all refs at the same time. Callers that join meanwhile take part.

        No caller waits for the call of another ref.
        """
        self._answered, self._begun = answered, NO_REFS
        first, *others = self._participants
        if not others or all(participant.ref == first.ref for participant in others):
            hook = self._hook_to_call(first)  # in this task: another one would cost each refresh some of its time
            if hook is not None:
                self._begun = (first.ref,)
                await self._tell(hook, first)
            if self._tellings:
                self._wake(first.ref)
        else:
            for participant in self._participants:
                self._serve(participant)
        while self._tellings:
            await asyncio.wait(self._tellings)

    def hand_out(self) -> None:
        """Wake every caller. Awaits nothing, so no caller can join in between."""
        for participant in self._participants:
            self._result(participant)
            participant.wake()
        # Every result is made now. Without this, exchange and delivery hold each other, and a refresh leaves two dozen
        # objects to the garbage collector: four per cent of its CPU.
        del self._result_for

    def received(self, participant: Participant) -> Result:
        """The result for `participant`, whose caller has it from here on.

        Where `on_outcome` failed with it, that is a `NotSaved` which carries the outcome.
        """
        participant.gone = True
        if self._answered is not None:
            self._answered.reach(participant.ref)
        result, failure = self._result(participant), self._failures.get(participant.ref)
        if failure is None or not participant.call.sending.call_on_outcome or not holds_live_token(result):
            return result
        error = failure.for_another()
        error.outcomes = (cast("Outcome", result),)
        return error

    def settle(self) -> None:
        """Note on the answer to whom its outcome is owed still. Every caller has its result, or was cancelled.

        An outcome with a live token is owed to each ref whose outcome neither `on_outcome` nor a caller has.
        """
        if self._answered is None:
            return
        reached = self._answered.reached
        owed = [
            participant.call
            for participant in self._participants
            if participant.ref not in reached and holds_live_token(self._result(participant))
        ]
        if owed or self._answered.unreached:  # seldom: mostly the one caller has it
            self._answered.owe(owed)

    def _result(self, participant: Participant) -> Result:
        if participant.result is None:
            participant.result = self._result_for(participant.call)
        return participant.result

    def _hook_to_call(self, participant: Participant) -> Hook | None:
        """The hook, where it has to be called with this caller's outcome, and was not yet called for its ref."""
        hook, ref = self._hook_of(participant.call), participant.ref
        if hook is None or self._is_told(ref) or ref in (self._begun or NO_REFS):
            return None
        return hook if holds_live_token(self._result(participant)) else None

    def _serve(self, participant: Participant) -> None:
        """Call the hook for this caller in a task of its own, or wake the caller where no call is needed."""
        ref, hook = participant.ref, self._hook_to_call(participant)
        if hook is not None:
            self._begun = (*(self._begun or NO_REFS), ref)
            task = ExchangeTask.of(self._tell_and_wake(hook, participant), self._runtime.loop)
            if not task.done():
                self._tellings |= {task}
                task.add_done_callback(self._told_one)
        elif self._is_told(ref) or ref not in (self._begun or NO_REFS):
            participant.wake()

    def _is_told(self, ref: Ref) -> bool:
        """Whether the call of the hook for `ref` has ended, in order or not."""
        return ref in self._failures or (self._answered is not None and ref in self._answered.told)

    async def _tell_and_wake(self, hook: Hook, participant: Participant) -> None:
        try:
            await self._tell(hook, participant)
        finally:
            self._wake(participant.ref)

    def _told_one(self, task: "asyncio.Task[None]") -> None:
        self._tellings -= {task}
        task.exception()  # a handler of the user's that logs may raise

    def _wake(self, ref: Ref) -> None:
        for participant in self._participants:
            if participant.ref == ref:
                self._result(participant)
                participant.wake()

    def _hook_of(self, call: Call) -> Hook | None:
        if call.sending.call_on_outcome:
            return self._runtime.on_outcome
        return call.sending.on_late if self._is_late else None

    async def _finish(self, given: object, nested: int = 1) -> None:
        """Await what an async hook returned, where that is an awaitable: it may be the work itself.

        Raises `TypeError` where the awaitables do not end.
        """
        work = _to_await(given)
        if work is None:
            return
        if nested > _MOST_NESTED:
            if inspect.iscoroutine(work):
                work.close()
            raise TypeError("it gave something to await, again and again")
        given = await run_foreign(lambda: work, timeout=self._runtime.hook_deadlines, again=False)
        await self._finish(given, nested + 1)

    async def _tell(self, hook: Hook, participant: Participant) -> None:
        ref, outcome = participant.ref, cast("Outcome", self._result(participant))
        cause: BaseException | None = None
        context = participant.context or copy_context()
        context.run(working_for.set, self.number)
        try:
            given = await run_foreign(
                lambda: _to_await(call_hook(hook, outcome)), timeout=self._runtime.hook_deadlines, context=context
            )
            if given is not None:
                await self._finish(given)
        except (asyncio.CancelledError, CancelledForGood):
            why = "was cancelled"
        except TimeoutError as error:
            cause, why = error, f"took longer than {self._runtime.hook_timeout:g} s, or raised TimeoutError"
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - a hook of the user's may raise anything
            cause, why = error, f"raised {type(error).__name__}"
        else:
            if self._answered is not None:
                self._answered.tell(ref)
            return
        came = (
            "A reply that may hold a token came" if isinstance(outcome, UnreadableReply) else "The exchange succeeded"
        )
        failure = NotSaved(f"{came}, but on_outcome {why}.", (outcome,))
        failure.__cause__ = cause
        for note in getattr(cause, "__notes__", ()):
            failure.add_note(note)
        self._failures = {**self._failures, ref: failure}
        _log.error("on_outcome %s; the outcome goes to its caller, or is kept (%s)", why, participant.call.name)


def _to_await(given: object) -> object:
    """The awaitable that a hook returned, or None.

    Raises `TypeError` for a generator function: not one line of such a hook has run.
    """
    if given is None or inspect.isawaitable(given):
        return given
    if isinstance(given, concurrent.futures.Future):  # of an executor, or of another event loop
        return asyncio.wrap_future(given)
    if inspect.isgenerator(given) or inspect.isasyncgen(given):
        raise TypeError("it has a yield in it, and so never runs")
    return None
