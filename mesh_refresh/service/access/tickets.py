"""Tickets: what opens the operator's page once, for who started the service at a terminal. Pure, told the time."""

import secrets

from attrs import define, field

from mesh_refresh.masking import MaskedStr
from mesh_refresh.service.access.keys import Scope, hash_of

TICKET_SCOPES = frozenset({Scope.READ, Scope.OPERATE})
"""What a session by a ticket allows. Never `Scope.TOKENS`."""
TICKET_PATH = "/ticket"
"""The path of the page that takes one: ``/ticket/TICKET``."""
TICKET_LASTS = 600.0
"""Seconds."""


@define
class Tickets:
    """The tickets of this process. They end with it."""

    _ends: dict[str, float] = field(factory=dict, repr=False)

    def issue(self, now: float) -> str:
        """A new ticket: plain text for a URL. `now` is in seconds of a clock that never goes back."""
        ticket = MaskedStr(secrets.token_urlsafe(32))
        self._ends[hash_of(ticket)] = now + TICKET_LASTS
        return ticket

    def take(self, ticket: str, now: float) -> bool:
        """Whether `ticket` is good. It is used up by that."""
        end = self._ends.pop(hash_of(ticket), None)
        return end is not None and now < end
