"""The model of Mesh: logins, ledger, and what comes of a request. Pure: no I/O, and it is given its clock."""

from collections.abc import Iterable, Mapping
from random import Random
from typing import Any
from uuid import UUID

from attrs import define, field

from mesh_refresh.clock import Clock
from mesh_refresh.enums import BrokerType, named_broker
from mesh_refresh.masking import masked
from mesh_refresh.testing.fake.options import LoginOptions
from mesh_refresh.testing.fake.traffic import F, Rule
from mesh_refresh.testing.fake.upstream import Seats
from mesh_refresh.testing.model.contract import BROKERS, Answer, check_body, client_refused, unauthorized_token
from mesh_refresh.testing.model.ledger import Ledger, TokenKind, Undelivered, Withheld
from mesh_refresh.testing.model.logins import FakeLogin
from mesh_refresh.testing.model.rules import exchange
from mesh_refresh.tokens import Tokens


@define(eq=False)
class MeshModel:
    """Mesh and all its brokers, without a network."""

    clock: Clock
    random: Random = field(repr=False)
    client_id: str = "fake-client-id"
    client_secret: str = field(default="fake-client-secret", repr=masked)
    extra_brokers: frozenset[str] = frozenset()
    logins: dict[str, FakeLogin] = field(factory=dict)
    ledger: Ledger = field(init=False)
    _accounts: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.ledger = Ledger(self.random)

    def login(self, broker: str, options: LoginOptions, ref: str | int | None = None) -> FakeLogin:
        """A new login, with its first tokens in its hands."""
        broker, name = self.known_broker(broker), f"login-{len(self.logins) + 1}"
        mesh_ids = [str(UUID(int=self.random.getrandbits(128), version=4)) for _ in range(options.accounts)]
        ids = {f"acc-{number}": it for number, it in enumerate(mesh_ids, self._accounts + 1)}
        self._accounts += options.accounts
        seats = Seats.of(name, options, self.ledger, ids)
        login = FakeLogin(name, str(broker), options, ref, seats, self.clock)
        if broker == "weBull":
            login.trade_token = self.ledger.issue(TokenKind.TRADE, name, None, self.clock.now(), None)
        login.again()
        self.logins[name] = login
        return login

    def known_broker(self, broker: str) -> str:
        """`broker`, which this Mesh accepts. Raises `ValueError` for any other."""
        name = str(named_broker(broker))
        if name not in BROKERS and name not in self.extra_brokers:
            raise ValueError(f"{name!r} is no broker of this FakeMesh: see BrokerType, or give it in extra_brokers.")
        return name

    def rule_for(
        self, fault: F, times: int | None, login: FakeLogin | str | None, broker: BrokerType | str | None
    ) -> Rule[F]:
        """A fault for requests that can come. Raises `ValueError` for what no request would ever meet."""
        if times is not None and (type(times) is not int or times < 1):
            raise ValueError(f"times is {times!r}: give a whole number from 1 on, or None for every request.")
        name = login.id if isinstance(login, FakeLogin) else login
        if name is not None and (name not in self.logins or login not in (name, self.logins[name])):
            raise ValueError(f"This FakeMesh has no login {name!r}: give a login that it made, or its id.")
        return Rule(fault, times, name, None if broker is None else self.known_broker(broker))

    def login_of(self, body: object) -> FakeLogin | None:
        """The login that the refresh token in `body` was issued to."""
        value = body.get("refreshToken") if isinstance(body, dict) else None
        record = self.ledger.find(value if isinstance(value, str) else None, TokenKind.REFRESH)
        return self.logins.get(record.login) if record else None

    def knows_client(self, headers: Mapping[str, str]) -> bool:
        """Whether the client's keys are right."""
        sent = {name.lower(): value for name, value in headers.items()}  # HTTP/2 and many clients send lower case
        return (sent.get("x-client-id"), sent.get("x-client-secret")) == (self.client_id, self.client_secret)

    def answer(self, headers: Mapping[str, str], body: object) -> Answer:
        """What Mesh answers to a POST; the tokens are rotated where that is part of it."""
        if not self.knows_client(headers):
            return client_refused()
        return check_body(body, self.extra_brokers) or self._exchanged(body)

    def deliver(self, answer: Answer, sent: bytes | None) -> None:
        """Note which of the answer's new refresh tokens went out whole in `sent`; None: the client had hung up."""
        why = Withheld.HUNG_UP if sent is None else Withheld.BY_FAULT
        self.note_delivery(answer.issued, sent or b"", why)

    def note_delivery(self, values: Iterable[str], sent: bytes, why: Withheld) -> None:
        """Note which of these refresh tokens went out whole in `sent`, and why the others did not."""
        for value in values:
            if value.encode() in sent:
                self.ledger.undelivered.pop(value, None)
                continue
            record = self.ledger.tokens[value]
            if record.kind is not TokenKind.REFRESH:
                continue
            broker = self.logins[record.login].broker
            self.ledger.undelivered[value] = Undelivered(record.login, record.account, broker, why, value)

    def place(self, before: Tokens | None, kept: Iterable[Tokens]) -> None:
        """Record that `kept` are kept for the login that the tokens `before` were issued to."""
        login = self.owner_of(before)
        if login is not None:
            self.ledger.placed.update((login, value) for tokens in kept for value in tokens.secrets)

    def owner_of(self, tokens: Tokens | None) -> str | None:
        """The id of the login that these were issued to: the refresh token's, where there is one."""
        values = tokens.secrets if tokens is not None else ()
        records = (self.ledger.tokens.get(value) for value in values)
        return next((record.login for record in records if record is not None), None)

    def _exchanged(self, body: object) -> Answer:
        login = self.login_of(body)
        if login is None or not isinstance(body, dict):
            return unauthorized_token()
        fields: dict[str, Any] = body
        record = self.ledger.tokens[fields["refreshToken"]]
        return exchange(login, record, fields, self.clock.now())
