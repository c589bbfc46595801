"""Attempts, late settles in any order, adds, removals and replays beside a broker that knows what is live.

Whatever the order: once all that is under way has been written down, every account has its live tokens, and works.
"""

import itertools
import random
from typing import Any

import pytest
from attrs import define, evolve
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mesh_refresh import RefreshOptions, Tokens
from mesh_refresh.keeper.rules.add import with_tokens
from mesh_refresh.keeper.rules.attempt import Attempt, Success, result_of
from mesh_refresh.keeper.rules.failure import Refused, apply_failure
from mesh_refresh.keeper.runtime.writer import change_for
from mesh_refresh.logins import Account, AccountState, Login, fingerprints
from tests.examples import TIMES, bounded
from tests.keeper.making import attempt, context, made, tokens
from tests.keeper.rules.brokers import STRATEGIES, Place, Plain, account_after, placed, replied

pytestmark = pytest.mark.once

_NAMES = ("A", "B", "C")
_AT_ONCE = 9
"""So many attempts under way: each but one has lost its lease."""


@define
class _Line:
    """What the broker knows as one pair: its live refresh token."""

    live: str


@define
class _Flight:
    attempt: Attempt
    outcome: Success | Refused


def _number(token: str | None) -> int:
    return int((token or "a-0")[2:])


class Merging(RuleBasedStateMachine):
    """Leases may be lost at any time here, so that any number of attempts is under way at once."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = itertools.count(1)
        self.attempts = itertools.count(1)
        self.seconds = 0
        self.flying: list[_Flight] = []
        self.landed: list[_Flight] = []
        self.lines: dict[str, _Line] = {}
        self.access: dict[str, str | None] = {}
        self.ever: list[Tokens] = []
        self.rotated: set[int] = set()
        self.saved: dict[str, Tokens] = {}
        self.strategy = Plain()
        self.login = made()

    @initialize(
        share=st.booleans(), everything=st.booleans(), number=st.integers(1, 3), strategy=st.sampled_from(STRATEGIES)
    )
    def begin(self, share: bool, everything: bool, number: int, strategy: Plain) -> None:
        self.share, self.everything, self.names = share, everything, _NAMES[:number]
        self.strategy = strategy
        self.login = self._made()

    def _made(self) -> Login:
        given = self._new_tokens(*self.names)
        return made(*given, seconds=self.seconds, credential=self.strategy.credential)

    def _applied(self, flight: _Flight) -> Login:
        moment = context(self.seconds, credential=self.strategy.credential)
        if isinstance(flight.outcome, Refused):
            return apply_failure(self.login, flight.attempt, flight.outcome, moment).login
        return change_for(flight.attempt, flight.outcome)(self.login, moment).login

    def _new_tokens(self, *names: str) -> list[Tokens]:
        """The person logs in: pairs that nobody had before."""
        line = _Line(f"r-{next(self.numbers)}")
        given = []
        for name in names:
            if not self.share and name != names[0]:
                line = _Line(f"r-{next(self.numbers)}")
            self.lines[name] = line
            self.access[name] = f"a-{next(self.numbers)}"
            given.append(self.strategy.kept(tokens(line.live, self.access[name], name, got=self.seconds)))
            self.saved[name] = given[-1]
        self.ever += given
        return given

    @precondition(lambda self: len(self.flying) < _AT_ONCE)
    @rule(
        index=st.integers(0, 2),
        rotates=st.booleans(),
        bare=st.booleans(),
        place=st.sampled_from(Place),
        echo=st.booleans(),
    )
    def send(self, index: int, rotates: bool, bare: bool, place: Place, echo: bool) -> None:
        """The exchange happens at the broker at once; when that is written down is another matter."""
        account = self.login.accounts[index % len(self.login.accounts)]
        name = self.named(account)
        credential = self.strategy.credential
        moment = context(self.seconds, credential=credential)
        sent = attempt(self.login, next(self.attempts), account, seconds=self.seconds, credential=credential)
        line, spent = self.lines[name], self.bare(account.tokens).refresh_token
        if spent != line.live:
            self.flying.append(_Flight(sent, Refused()))
            return
        self.rotated.clear()
        if rotates:
            line.live = f"r-{next(self.numbers)}"
        entries = {name: self._entry(name, line.live if rotates or echo else None)}
        for other in self.login.accounts if self.everything else ():
            if other is not account:
                entries[self.named(other)] = self._beside(self.named(other), line, rotates=rotates, bare=bare)
        content = placed(entries, name, line.live if rotates else None, place, share=self.share)
        outcome = self.strategy.interpret(
            self.strategy.build(account.tokens, RefreshOptions()), account.tokens, replied(content), moment.now
        )
        kept = result_of(outcome, moment.new_id)
        assert isinstance(kept, Success)
        self.flying.append(_Flight(sent, kept))
        for key, kept_for in self.saved.items():  # what a program without a keeper saves
            self.saved[key] = outcome.onto(kept_for)
        if "refreshToken" not in entries[name] and place is Place.SIBLINGS and rotates:
            # Without what a keeper knows of the accounts, nobody can tell that this one shares the token.
            self.saved[name] = account_after(self.saved[name], line.live, self.strategy)

    def named(self, account: Account) -> str:
        return self.strategy.named(account.tokens.account_id)

    def bare(self, tokens: Tokens) -> Tokens:
        """The tokens as the broker knows them."""
        return self.strategy.bare(tokens)

    def _beside(self, name: str, line: _Line, *, rotates: bool, bare: bool) -> dict[str, Any]:
        """A sibling's entry: with a token of its own or, `bare`, with an access token only."""
        own, known = self.lines[name], self.access[name]
        if own is line or bare:
            entry = self._entry(name, line.live if rotates and not bare and own is line else None)
            if own is not line:
                # An access token alone may give way to an older one that comes with the live refresh token.
                self.access[name] = known
            return entry
        if rotates and id(own) not in self.rotated:
            self.rotated.add(id(own))
            own.live = f"r-{next(self.numbers)}"
        return self._entry(name, own.live)

    def _entry(self, name: str, refresh: str | None) -> dict[str, Any]:
        self.access[name] = f"a-{next(self.numbers)}"
        entry = {"account": {"accountId": name}, "accessToken": self.access[name]}
        return entry if refresh is None else {**entry, "refreshToken": refresh}

    @precondition(lambda self: self.flying)
    @rule(index=st.integers(0, 9))
    def settle(self, index: int) -> None:
        """Some outcome is written down. A second time changes nothing, because a store may raise after it wrote."""
        flight = self.flying.pop(index % len(self.flying))
        self.landed.append(flight)
        self.login = self._applied(flight)
        assert self._applied(flight).accounts == self.login.accounts

    @precondition(lambda self: self.landed)
    @rule(index=st.integers(0, 99))
    def replay(self, index: int) -> None:
        """A file of the spool that could not be removed is read again, long after."""
        self.login = self._applied(self.landed[index % len(self.landed)])

    @rule(index=st.integers(0, 2), everybody=st.booleans())
    def log_in_anew(self, index: int, everybody: bool) -> None:
        names = self.names if everybody else (self.names[index % len(self.names)],)
        self.login, done = with_tokens(
            self.login, self._new_tokens(*names), context(self.seconds, credential=self.strategy.credential)
        )
        assert {self.strategy.named(it) for it in done.replaced} == set(names)

    @rule(index=st.integers(0, 99))
    def add_once_more(self, index: int) -> None:
        """A start-up adds what was once added."""
        given = (self.ever[index % len(self.ever)],)
        after, done = with_tokens(self.login, given, context(self.seconds, credential=self.strategy.credential))
        assert not done.changed
        assert after == self.login

    @rule()
    def remove_and_make_anew(self) -> None:
        self.ever = []
        self.login = self._made()

    @rule(seconds=st.sampled_from([1, 60, 3600]))
    def wait(self, seconds: int) -> None:
        self.seconds += seconds

    @invariant()
    def nothing_is_lost_without_a_keeper(self) -> None:
        """A program that saves each outcome with `onto`, in the order in which they came."""
        for name, kept in self.saved.items():
            assert self.bare(kept).refresh_token == self.lines[name].live, f"{name}: the live token is lost"
            assert self.bare(kept).account_id == name

    @invariant()
    def nothing_strange(self) -> None:
        """No account appears, loses its token, or takes another one's."""
        if hasattr(self, "names"):
            assert {self.named(it) for it in self.login.accounts} == set(self.names)
        for account in self.login.accounts:
            assert account.tokens.refresh_token is not None
            assert fingerprints.count(account.known) < 200

    @precondition(lambda self: not self.flying)
    @invariant()
    def all_is_well(self) -> None:
        """Nothing is under way: every account has what is live, and nobody is parked."""
        for account in self.login.accounts:
            name = self.named(account)
            if not name:
                continue
            held = self.bare(account.tokens)
            assert held.refresh_token == self.lines[name].live, f"the live token of {name} is lost"
            assert self.strategy.kept(held) == account.tokens, f"the tokens of {name} are not as the strategy gave them"
            assert account.state is AccountState.ACTIVE
            if not self.share:  # else an account may have caught up with a sibling's token, which came later
                assert _number(held.access_token) >= _number(self.access[name]), f"{name}: an older one"


TestMerging = Merging.TestCase
TestMerging.settings = bounded(50, stateful_step_count=25)

_WEIGHTS = {"send": 8, "settle": 6, "replay": 2, "log_in_anew": 1, "add_once_more": 1, "wait": 2}


def walk(seed: int, steps: int = 40) -> Merging:
    """A long way through the model, most of it exchanges and settles; then all that is under way lands."""
    chance = random.Random(seed)
    machine = Merging()
    machine.begin(chance.random() < 0.5, chance.random() < 0.5, chance.randint(1, 3), chance.choice(STRATEGIES))
    for name in chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()), k=steps):
        if name == "send":
            if len(machine.flying) == _AT_ONCE:
                machine.settle(chance.randrange(100))
            place, echo = chance.choice(list(Place)), chance.random() < 0.3
            machine.send(chance.randrange(3), chance.random() < 0.7, chance.random() < 0.3, place, echo)
        elif name == "wait":
            machine.wait(chance.choice([1, 60, 3600]))
        elif name == "log_in_anew":
            machine.log_in_anew(chance.randrange(3), chance.random() < 0.3)
        elif name == "add_once_more" or (machine.landed if name == "replay" else machine.flying):
            getattr(machine, name)(chance.randrange(100))
        _look(machine)
    while machine.flying:
        machine.settle(chance.randrange(100))
        _look(machine)
    return machine


def _look(machine: Merging) -> None:
    machine.nothing_strange()
    machine.nothing_is_lost_without_a_keeper()
    if not machine.flying:
        machine.all_is_well()


@pytest.mark.parametrize("hundred", range(0, TIMES * 600, 100))
def test_long_ways(hundred: int) -> None:
    """A failing seed is told, and goes the same way again."""
    for seed in range(hundred, hundred + 100):
        try:
            walk(seed)
        except AssertionError as error:
            error.add_note(f"seed {seed}")
            raise


def test_the_broker_of_the_model_refuses_what_is_spent() -> None:
    """A check of the checker: the second exchange of one token is refused."""
    machine = Merging()
    machine.begin(share=True, everything=False, number=2, strategy=Plain())
    machine.send(0, rotates=True, bare=False, place=Place.ENTRY, echo=False)
    machine.send(1, rotates=True, bare=False, place=Place.ENTRY, echo=False)
    assert [type(it.outcome) for it in machine.flying] == [Success, Refused]
    assert evolve(machine.login) == machine.login
