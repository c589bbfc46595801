"""What a test may ask a FakeMesh when the dust has settled."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from mesh_refresh.testing.fake.traffic import SentRequest, Traffic
from mesh_refresh.testing.model.holdings import Holdings, held_as
from mesh_refresh.testing.model.ledger import Undelivered, Withheld
from mesh_refresh.testing.model.logins import FakeLogin
from mesh_refresh.testing.model.losses import LossReason, Lost, Misplaced, lost, misplaced
from mesh_refresh.testing.model.model import MeshModel
from mesh_refresh.tokens import Tokens

L = TypeVar("L", bound=FakeLogin | str)


class Observed:
    """The questions; `FakeMesh` has them all."""

    def __init__(self, model: MeshModel, traffic: Traffic) -> None:
        self.model, self.traffic = model, traffic
        self.ledger = model.ledger
        """Every token that was ever issued."""
        self.logins = model.logins
        """All logins, by id."""
        self.reuses = model.ledger.reuses
        """Every time that a refresh token was sent after it had been spent."""
        self.requests = traffic.requests
        """Every request that came in, in order."""
        self.exchanges = traffic.exchanges
        """How often each outcome came of a request that Mesh itself answered (``exchanges["succeeded"]``)."""

    def lost(self, held: Iterable[Tokens] | None = None, *, ignoring_undelivered: bool = False) -> list[Lost]:
        """The accounts that no holder can refresh, so that only their owner can bring them back.

        To hold an account is to have its live refresh token under no other account's id and, where the broker asks for
        more than that, with it: an access token or a token id, WeBull's trade token. An account without a refresh token
        is held by its access token or token id.

        Held is what was handed out by `login`, and what `saved`, `hold_tokens` and `hold_body` were told of; with
        `held`, only that. An account whose new token a fault withheld (`Delivery.WITHHELD`: never on the wire whole) is
        listed as `LossReason.UNDELIVERED`, because it is lost; `ignoring_undelivered` leaves out those, and only those.
        """
        found = self.lost_of(self.ledger.held if held is None else Holdings.of(map(held_as, held)))
        return [item for item in found if not (ignoring_undelivered and item.reason is LossReason.UNDELIVERED)]

    def lost_of(self, holdings: Holdings) -> list[Lost]:
        """The accounts that are lost where `holdings` are all that is kept."""
        return list(lost(self.model.logins.values(), self.ledger, holdings, self.model.clock.now()))

    def misplaced(self, held: Mapping[L, Iterable[Tokens]] | None = None) -> list[Misplaced]:
        """Every token that is kept for a login and was issued to another one: one person's tokens as another's.

        Kept is what `saved` was told of, for the login of `outcome.before`; with `held`, only that: the tokens that
        your database has for each login, by the `FakeLogin` or its id.
        """
        if held is None:
            return list(misplaced(sorted(self.ledger.placed), self.ledger, self.logins))
        names = ((login.id if isinstance(login, FakeLogin) else login, kept) for login, kept in held.items())
        placed = ((name, value) for name, kept in names for tokens in kept for value in tokens.secrets)
        return list(misplaced(placed, self.ledger, self.logins))

    @property
    def undelivered(self) -> list[Undelivered]:
        """Every refresh token, live or not by now, that a fault kept from being written to the wire whole."""
        return [item for item in self.ledger.undelivered.values() if item.why is Withheld.BY_FAULT]

    def is_live(self, value: str | None) -> bool:
        """Whether Mesh would take `value` now: a refresh token in force, or an access token that has not run out."""
        record = self.ledger.tokens.get(value or "")
        if record is None or not record.alive(self.model.clock.now()):
            return False
        return not self.model.logins[record.login].refused

    # What happened.

    @property
    def in_flight(self) -> int:
        """How many requests are being answered now."""
        return self.traffic.in_flight

    @property
    def max_in_flight(self) -> int:
        """How many were being answered at once at most."""
        return self.traffic.max_in_flight

    def sent_twice(self) -> list[SentRequest]:
        """Requests that brought a refresh token while another one with it was still being answered."""
        return list(self.traffic.twice)
