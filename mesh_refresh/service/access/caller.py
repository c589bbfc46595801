"""`Caller`: who sent a request, and what the audit says of it."""

import secrets

from aiohttp import web
from attrs import frozen

from mesh_refresh.service.access.keys import Scope


@frozen
class Caller:
    """Who sent a request that was let in."""

    key: str
    """The name of the access key."""
    scopes: frozenset[Scope]
    prefix: str
    """Logins whose ids begin otherwise are not there for this caller."""
    request_id: str
    address: str
    """The IP address of the caller, or ``unix``."""

    def sees(self, login_id: str) -> bool:
        """Whether this login may be named to the caller: its id, decoded, begins with the prefix."""
        return login_id.startswith(self.prefix)

    def masked(self, login_id: str) -> str:
        """`login_id`, or the id of no login, where the caller must not see it.

        Ask the keeper for that: a login that the caller must not see then answers `UnknownLogin` exactly like one that
        is not there, and takes as long. For `Keeper.add`, raise `UnknownLogin` instead.
        """
        return login_id if self.sees(login_id) else f"~no-login-{secrets.token_hex(16)}"


CALLER: web.RequestKey[Caller] = web.RequestKey("mesh_refresh caller", Caller)


def caller_of(request: web.Request) -> Caller:
    """Who sent `request`. Of routes that need a key or a session."""
    return request[CALLER]
