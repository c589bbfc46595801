"""A mixed fleet in fine weather: what needs no alarm gives none."""

from collections import Counter
from collections.abc import Callable, Iterator

from attrs import define

from mesh_refresh.keeper.advice import why_parked, why_waiting
from mesh_refresh.keeper.events import (
    AccountJoined,
    AccountRefreshed,
    BreakerClosed,
    Event,
    MfaNeeded,
    ReconnectRequired,
)
from mesh_refresh.logins import AccountState, Login, Reason
from mesh_refresh.stores import Row
from mesh_refresh.testing import FakeLogin, FakeMesh


@define(eq=False)
class Alarms:
    """Looks at every event and at every write. `violated` is told of an alarm that nothing gave cause for."""

    fake: FakeMesh
    violated: Callable[[str], None]
    covered: Counter[str]

    def told(self, event: Event) -> None:
        """An event that people are to do something about."""
        if isinstance(event, AccountRefreshed | AccountJoined | BreakerClosed):
            return
        login = self.fake.logins.get(getattr(event, "login_id", ""))
        needed = login is not None and (
            (isinstance(event, MfaNeeded) and login.options.mfa)
            or (isinstance(event, ReconnectRequired) and event.reason is Reason.EXPIRED and _just_ends(login))
        )
        if needed:
            self.covered["alarms with a cause"] += 1
        else:
            self.violated(f"a false alarm: {event}")

    def written(self, login: Login, row: Row) -> None:
        """Accounts that Mesh manages are never due, and never count as expired."""
        managed = [it for it in login.accounts if it.state is AccountState.MANAGED]
        self.covered["managed accounts written"] += len(managed)
        if any(it.due_at is not None for it in managed):
            self.violated(f"{login.login_id} is managed, and was made due")
        if len(managed) == len(login.accounts) and (row.due_at, row.expires_at) != (None, None):
            self.violated(f"{login.login_id} is managed, and its row is due or ends")

    def in_the_end(self, fake: FakeLogin, login: Login) -> Iterator[str]:
        """What people are told of a login that needs nothing."""
        if fake.options.mfa or _just_ends(fake):
            return
        for account in login.accounts:
            words = why_parked(account)
            if words is None and account.state is AccountState.ACTIVE:
                words = why_waiting(login, account, self.fake.clock.now())
            if words is not None:
                yield f"{login.login_id} ({login.broker}) needs nothing, and people are told: {words}"


def _just_ends(login: FakeLogin) -> bool:
    """Whether it has an access token, and nothing to renew that with."""
    return not login.options.refreshable and not login.options.token_ids
