"""What `add` makes of a login: tokens that were here before are no news. Pure."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from attrs import evolve, field, frozen

from mesh_refresh.errors import InvalidRequest
from mesh_refresh.keeper.policy import Policy
from mesh_refresh.keeper.rules import fingerprints
from mesh_refresh.keeper.rules.schedule import chance_of, next_due
from mesh_refresh.logins import Account, AccountState, Login
from mesh_refresh.replies.identity import contradicts, has_id, one_lacks_id, same_account, whose
from mesh_refresh.replies.lineage import Credential, pass_on, refresh_token_of
from mesh_refresh.tokens import Tokens


@frozen
class Added:
    """What `Keeper.add` did, account by account: the account ids (None where there is none)."""

    login_id: str
    new: tuple[str | None, ...] = ()
    """They were not known."""
    replaced: tuple[str | None, ...] = ()
    """The person logged in anew: these tokens stand in the place of the old ones."""
    woken: tuple[str | None, ...] = ()
    """They were parked, and an access token that was never seen says that they are good again."""
    unchanged: tuple[str | None, ...] = ()
    """These tokens were here before, and are no news: everything stayed as it was."""

    @property
    def changed(self) -> bool:
        """Whether anything was written."""
        return bool(self.new or self.replaced or self.woken)


@frozen
class Adding:
    """What `add` needs besides the tokens."""

    now: datetime
    policy: Policy
    new_id: Callable[[], str] = field(repr=False, eq=False)
    """Returns an id that was never used, for each account that is new."""
    over: timedelta = timedelta()
    """What is due at once is spread over this."""
    at_once: bool = False
    """Due now, whatever the lifetimes say: nobody knows how old the tokens are."""
    on_demand: bool = False
    """As after a refresh that needed a code: the loop leaves it alone."""
    credential: Credential = field(default=refresh_token_of, repr=False, eq=False)
    """What an exchange of tokens spends. It never raises."""


def check_login(login_id: object, tokens: Sequence[Tokens], broker: str | None = None) -> None:
    """Raises `InvalidRequest` for what cannot be one login."""
    wrong = _wrong(login_id, tokens, broker)
    if wrong:
        del tokens, login_id
        raise InvalidRequest(wrong)


def _wrong(login_id: object, tokens: Sequence[object], broker: str | None) -> str | None:
    if wrong := wrong_login_id(login_id):
        return wrong
    given = [it for it in tokens if isinstance(it, Tokens)]
    if len(given) != len(tokens):
        return "add takes Tokens, or an iterable of them (Tokens.from_link reads what Link hands over)."
    if not given:
        return "There are no tokens to add."
    brokers = {str(it.broker) for it in given} | ({broker} if broker is not None else set())
    if len(brokers) > 1:
        return "A login has one broker: remove it first, if the person has changed to another."
    if any(it.refresh_token is None and it.auth_token is None for it in given):
        return "An account without any token cannot be kept."
    if len(given) > 1:
        if not all(map(has_id, given)):
            return "Several accounts of one login need an account_id each, or a mesh_account_id."
        if any(same_account(one, other) for index, one in enumerate(given) for other in given[:index]):
            return "Two of the accounts have the same id."
    return None


def wrong_tokens(value: object) -> str | None:
    """What is wrong with what should be `Tokens`, or None."""
    return None if value is None or isinstance(value, Tokens) else "rejected takes the Tokens that were refused."


def wrong_login_id(login_id: object) -> str | None:
    """What is wrong with a login id."""
    if not isinstance(login_id, str) or not login_id:
        return "A login id must be a non-empty string."
    try:
        login_id.encode()
    except UnicodeEncodeError:
        return "A login id must be Unicode text."
    return None


def new_login(login_id: str, epoch: str, tokens: Sequence[Tokens], how: Adding) -> tuple[Login, Added]:
    """A login that was not known."""
    accounts = tuple(_new(login_id, it, how.new_id(), how) for it in tokens)
    login = Login(login_id, tokens[0].broker, accounts, changed_at=how.now, epoch=epoch)
    return login, Added(login_id, new=tuple(map(_id, tokens)))


def with_tokens(login: Login, tokens: Sequence[Tokens], how: Adding) -> tuple[Login, Added]:
    """`login` with `tokens` added to it."""
    accounts = list(login.accounts)
    done: dict[str, list[str | None]] = {"new": [], "replaced": [], "woken": [], "unchanged": []}
    for fresh in tokens:
        epoch = how.new_id()
        index = _index(accounts, fresh, how, alone=len(tokens) == 1)
        if index is None:
            accounts.append(_with_a_siblings(_new(login.login_id, fresh, epoch, how), accounts, how))
            done["new"].append(_id(fresh))
            continue
        what, account = _given(login.login_id, accounts[index], fresh, epoch, how)
        if account.epoch == epoch:
            account = _with_a_siblings(account, [*accounts[:index], *accounts[index + 1 :]], how)
        accounts[index] = account
        done[what].append(_id(account.tokens))
    return evolve(login, accounts=tuple(accounts)), Added(
        login.login_id, **{what: tuple(ids) for what, ids in done.items()}
    )


def _index(accounts: Sequence[Account], fresh: Tokens, how: Adding, *, alone: bool) -> int | None:
    named = whose(fresh, [account.tokens for account in accounts])
    if named is not None:
        return named
    mark = fingerprints.identity(fresh, how.credential)
    for index, account in enumerate(accounts):
        if not contradicts(account.tokens, fresh) and has_had(account, mark, how.credential):
            return index
    if alone and len(accounts) == 1 and one_lacks_id(fresh, accounts[0].tokens):
        return 0  # one of them has no id: the login's only account is meant
    if accounts and not has_id(fresh):
        raise InvalidRequest("The login has several accounts: the tokens need an account_id, or a mesh_account_id.")
    return None


def has_had(account: Account, mark: str | None, credential: Credential) -> bool:
    """Whether the account has a token of this fingerprint, or had it."""
    own = (account.tokens.refresh_token, account.tokens.auth_token, credential(account.tokens))
    return fingerprints.was_seen(account.known, mark) or mark in [fingerprints.fingerprint(it) for it in own if it]


def _given(login_id: str, old: Account, fresh: Tokens, epoch: str, how: Adding) -> tuple[str, Account]:
    mark = fingerprints.identity(fresh, how.credential)
    if not has_had(old, mark, how.credential):
        return "replaced", _renewed(login_id, old, fresh, epoch, how)
    access = fresh.auth_token
    is_new = access is not None and not fingerprints.was_seen(old.known, fingerprints.fingerprint(access))
    if old.parked and is_new and access != old.tokens.auth_token:
        if fresh.refresh_token is not None and fresh.refresh_token != old.tokens.refresh_token:
            # What came after it is stored: that was spent by a refresh of ours, perhaps longer ago than is remembered,
            # or the person has logged in anew since.
            kept = old.tokens
            fresh = evolve(
                fresh, refresh_token=kept.refresh_token, refresh_token_expires_at=kept.refresh_token_expires_at
            )
        return "woken", _renewed(login_id, old, fresh, epoch, how)
    return "unchanged", old


def _renewed(login_id: str, old: Account, fresh: Tokens, epoch: str, how: Adding) -> Account:
    ends = fresh.refresh_token_expires_at if fresh.refresh_token else old.tokens.refresh_token_expires_at
    kept = evolve(
        fresh,
        # Absent is not erased: a new login that brings none does not end the old one's.
        refresh_token=fresh.refresh_token or old.tokens.refresh_token,
        refresh_token_expires_at=ends,
        trade_token=fresh.trade_token or old.tokens.trade_token,
        metadata=old.tokens.metadata if fresh.metadata is None else fresh.metadata,
        account_id=fresh.account_id or old.tokens.account_id,
        mesh_account_id=fresh.mesh_account_id or old.tokens.mesh_account_id,
        ref=old.tokens.ref if fresh.ref is None else fresh.ref,
    )
    known = fingerprints.remember_added(old.known, old.tokens, how.credential)
    account = _new(login_id, kept, epoch, how, known)
    credential = how.credential(kept)
    if credential is None or credential != how.credential(old.tokens):
        return account
    # An exchange that is in flight spends this very token, and what comes of it is of this account.
    return _with_its_past(evolve(account, epoch=old.epoch, body=old.body), old)


def _with_its_past(account: Account, old: Account) -> Account:
    """`account`, which has the refresh token of `old`, with all that was sent with it, and what came of that."""
    account = evolve(
        account,
        produced_by=old.produced_by,
        settled_by=old.settled_by,
        failed_by=old.failed_by,
        renewed_at=old.renewed_at,
        unknown_since=old.unknown_since,
        resend_not_before=old.resend_not_before,
    )
    if not old.parked:
        # Else it is woken, and asked once more as one that is not known to be refused.
        account = evolve(
            account,
            refused_at=old.refused_at,
            retry_not_before=old.retry_not_before,
            sibling_renewed=old.sibling_renewed,
            needs_code=account.needs_code or old.needs_code,
        )
    if account.due_at is None or account.needs_code:
        return evolve(account, due_at=None)
    moments = (account.due_at, account.resend_not_before, account.retry_not_before)
    return evolve(account, due_at=max(moment for moment in moments if moment is not None))


def _with_a_siblings(account: Account, accounts: Sequence[Account], how: Adding) -> Account:
    """`account`, which is news, with the token that came after its own, where a sibling has spent that.

    Accounts of one login may share a token: what a sibling has, or had, it has with all that is known of it.
    """
    token = how.credential(account.tokens)
    if token is None:
        return account
    mark = fingerprints.fingerprint(token)
    having = [it for it in accounts if how.credential(it.tokens) == token]
    having += [it for it in accounts if how.credential(it.tokens) is not None and fingerprints.was_seen(it.known, mark)]
    if not having:
        return account
    tokens = pass_on(account.tokens, token, having[0].tokens, how.credential)
    if tokens is not account.tokens:
        account = evolve(account, tokens=tokens)
    return _with_its_past(account, having[0])


def _new(login_id: str, tokens: Tokens, epoch: str, how: Adding, known: str = "") -> Account:
    now, unknown_age = how.now, tokens.obtained_at is None
    state = AccountState.ACTIVE if how.credential(tokens) is not None else AccountState.NOT_REFRESHABLE
    if unknown_age:
        # Margins are fractions of a lifetime: without a beginning there is none.
        tokens = evolve(tokens, obtained_at=now)
    account = Account(
        tokens,
        state,
        epoch=epoch,
        renewed_at=tokens.obtained_at if tokens.refresh_token is not None else None,
        needs_code=how.on_demand and state is AccountState.ACTIVE,
        known=fingerprints.remember_added(known, tokens, how.credential),
    )
    chance = chance_of(login_id, 0)
    due = next_due(account, how.policy, chance=chance, now=now)
    if how.at_once and state is AccountState.ACTIVE and not account.needs_code:
        due = max(now, tokens.not_before or now)
    if how.over and due is not None and due <= now:
        due = now + how.over * chance
    return evolve(account, due_at=due)


def _id(tokens: Tokens) -> str | None:
    return tokens.account_id or tokens.mesh_account_id
