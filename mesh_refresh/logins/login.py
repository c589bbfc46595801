"""One person's login at one broker."""

from collections.abc import Iterable
from datetime import datetime

from attrs import field, frozen

from mesh_refresh.enums import BrokerType
from mesh_refresh.logins.account import Account, AccountState
from mesh_refresh.logins.errors import AmbiguousAccount, UnknownAccount
from mesh_refresh.logins.moving import Moving

_URGENCY = (
    AccountState.UNREADABLE,
    AccountState.RECONNECT_REQUIRED,
    AccountState.MFA_REQUIRED,
    AccountState.ACTIVE,
    AccountState.NOT_REFRESHABLE,
    AccountState.MANAGED,
)


def ids_of(accounts: Iterable[Account]) -> tuple[str, ...]:
    """What names each of `accounts`; one without any id is left out."""
    named = (account.tokens.account_id or account.tokens.mesh_account_id for account in accounts)
    return tuple(name for name in named if name is not None)


@frozen(slots=False)  # faster to make
class Login:
    """One person's login at one broker, with its one or several accounts."""

    login_id: str
    """Your own key for it."""
    broker: BrokerType | str
    accounts: tuple[Account, ...]
    round_at: datetime | None = None
    """When the present round began, in which each account is renewed once: when its first exchange was sent."""
    succeeded_at: datetime | None = None
    """The last success of any of its accounts."""
    moving: Moving | None = None
    """It moves to another store, or from one: nothing of it is exchanged here."""
    notice_sequence: int = 0
    """That of its last notice; 0: it has had none."""
    changed_at: datetime | None = None
    """When anything but its lease was last written."""
    epoch: str = ""
    """A random id of the row: a login that was removed and added anew has another."""
    revision: int = field(default=0, eq=False)
    """Raised by every write."""
    attempt: int = field(default=0, eq=False)
    """The number of the last attempt; it grows for ever."""

    @property
    def state(self) -> AccountState:
        """The most urgent of its accounts' states."""
        states = {account.state for account in self.accounts}
        return next((state for state in _URGENCY if state in states), AccountState.NOT_REFRESHABLE)

    def account(self, account_id: str | None = None) -> Account:
        """The account named, or the only one.

        An account is named by its account id or, where it has none, by Mesh's. Raises `UnknownAccount` where there is
        no such account, `AmbiguousAccount` where there are several and none is named.
        """
        if account_id is None:
            if len(self.accounts) != 1:
                raise AmbiguousAccount(account_ids=ids_of(self.accounts))
            return self.accounts[0]
        for account in self.accounts:
            if account.tokens.account_id == account_id:
                return account
        for account in self.accounts:
            if account.tokens.mesh_account_id == account_id:
                return account
        raise UnknownAccount

    def to_link(self) -> list[dict[str, str]]:
        """The ``accessTokens`` of Link's SDKs, with an entry for each account, as `Tokens.to_link` makes it.

        An account that has no access token yet (delayed authentication) is left out. Whether a token has ended is for
        you to look at: `Keeper.tokens` gives those that are good.
        """
        return [account.tokens.to_link() for account in self.accounts if account.tokens.auth_token is not None]

    def having(self, accounts: tuple[Account, ...]) -> "Login":
        """This login with other accounts. Written out, because `attrs.evolve` takes five times as long."""
        return self._with(accounts, self.round_at, self.succeeded_at)

    def succeeding(self, round_at: datetime | None, succeeded_at: datetime | None) -> "Login":
        """This login with another last success, and the begin of its round."""
        return self._with(self.accounts, round_at, succeeded_at)

    def _with(self, accounts: tuple[Account, ...], round_at: datetime | None, succeeded_at: datetime | None) -> "Login":
        return Login(
            self.login_id,
            self.broker,
            accounts,
            round_at,
            succeeded_at,
            self.moving,
            self.notice_sequence,
            self.changed_at,
            self.epoch,
            self.revision,
            self.attempt,
        )

    def by_epoch(self, epoch: str) -> Account | None:
        """The account of that epoch; None where it was added anew since, or is not here."""
        return next((account for account in self.accounts if account.epoch == epoch), None)
