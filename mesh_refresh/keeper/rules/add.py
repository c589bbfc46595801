"""What `Keeper.add` makes of a login: a new login of the person, or tokens that were here before. Pure.

Tokens that an account has or had change nothing. So a start-up that adds the payloads it once stored, a webhook that
comes twice and a repeated import do no harm. See docs/decisions/the-keeper.md and docs/moving-logins-in.md.
"""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from attrs import evolve, field, frozen

from mesh_refresh.errors import InvalidRequest
from mesh_refresh.keeper.rules.schedule import chance_of, next_due
from mesh_refresh.keeper.rules.transition import Context, working_state
from mesh_refresh.logins import Account, AccountState, Login, fingerprints
from mesh_refresh.replies.identity import contradicts, has_id, one_lacks_id, whose
from mesh_refresh.replies.lineage import Credential, pass_on
from mesh_refresh.stores.store import ALL_BROKERS
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
    """These tokens were here before: everything stayed as it was."""

    created: bool = field(default=False, eq=False, kw_only=True)
    """The login itself was not known."""

    @property
    def changed(self) -> bool:
        """Whether anything was written."""
        return bool(self.new or self.replaced or self.woken)


@frozen
class Terms:
    """How logins are added."""

    over: timedelta = timedelta()
    """Accounts that are due at once are spread over this time."""
    at_once: bool = False
    """Accounts are due now, even where their lifetime says later: the age of the tokens is not known."""
    on_demand: frozenset[str] = frozenset()
    """Brokers whose logins the loop leaves alone, as after a refresh that needed a code; ``"*"`` is all of them."""


_NO_TERMS = Terms()
_PAST = ("produced_by", "settled_by", "failed_by", "renewed_at", "unknown_since", "resend_not_before")
"""What tokens have behind them that stay, or that a sibling has too."""


def new_login(
    login_id: str, epoch: str, tokens: Sequence[Tokens], context: Context, terms: Terms = _NO_TERMS
) -> tuple[Login, Added]:
    """A login that was not known, with an account for each of `tokens`. `epoch` is that of its row."""
    accounts = tuple(_new_account(login_id, given, context, terms, epoch=context.new_id()) for given in tokens)
    login = Login(login_id, tokens[0].broker, accounts, changed_at=context.now, epoch=epoch)
    return login, Added(login_id, new=tuple(map(_id, tokens)), created=True)


def with_tokens(
    login: Login, tokens: Sequence[Tokens], context: Context, terms: Terms = _NO_TERMS
) -> tuple[Login, Added]:
    """`login` with `tokens` added to it. Raises `InvalidRequest` where it is not clear which account is meant."""
    accounts = list(login.accounts)
    done: dict[str, list[str | None]] = {"new": [], "replaced": [], "woken": [], "unchanged": []}
    for given in tokens:
        epoch = context.new_id()
        index = _find_account(accounts, given, context.credential, alone=len(tokens) == 1)
        if index is None:
            account = _new_account(login.login_id, given, context, terms, epoch=epoch, after=login.attempt)
            accounts.append(_with_siblings_token(account, accounts, context.credential))
            done["new"].append(_id(given))
            continue
        what, account = _take(login, accounts[index], given, context, terms, epoch=epoch)
        if account.epoch == epoch:
            siblings = [*accounts[:index], *accounts[index + 1 :]]
            account = _with_siblings_token(account, siblings, context.credential)
        accounts[index] = account
        done[what].append(_id(account.tokens))
    told = (tuple(done[what]) for what in ("new", "replaced", "woken", "unchanged"))
    return evolve(login, accounts=tuple(accounts)), Added(login.login_id, *told)


def has_had(account: Account, mark: str | None, credential: Credential) -> bool:
    """Whether the account has a token of this fingerprint, or had it."""
    own = (account.tokens.refresh_token, account.tokens.auth_token, credential(account.tokens))
    marks = [fingerprints.fingerprint(token) for token in own if token]
    return fingerprints.was_seen(account.known, mark) or mark in marks


def _find_account(accounts: Sequence[Account], given: Tokens, credential: Credential, *, alone: bool) -> int | None:
    """Which account the tokens are of: by name, else by a token that it has or had. None: a new one."""
    named = whose(given, [account.tokens for account in accounts])
    if named is not None:
        return named
    mark = fingerprints.identity(given, credential)
    for index, account in enumerate(accounts):
        if not contradicts(account.tokens, given) and has_had(account, mark, credential):
            return index
    if alone and len(accounts) == 1 and one_lacks_id(given, accounts[0].tokens):
        return 0  # one of them has no id: the login's only account is meant
    if accounts and not has_id(given):
        raise InvalidRequest("The login has several accounts: the tokens need an account_id, or a mesh_account_id.")
    return None


def _take(
    login: Login, old: Account, given: Tokens, context: Context, terms: Terms, *, epoch: str
) -> tuple[str, Account]:
    """The account after the tokens, and what that is called in `Added`."""
    if not has_had(old, fingerprints.identity(given, context.credential), context.credential):
        return "replaced", _replace(login, old, given, context, terms, epoch=epoch)
    access, kept = given.auth_token, old.tokens
    is_new = access is not None and not fingerprints.was_seen(old.known, fingerprints.fingerprint(access))
    if not old.parked or not is_new or access == kept.auth_token:
        return "unchanged", old
    if given.refresh_token != kept.refresh_token:
        # The stored refresh token came after the given one: a refresh of ours has spent that, perhaps longer ago than
        # marks are kept, or the person has logged in anew since.
        ends = kept.refresh_token_expires_at
        given = evolve(given, refresh_token=kept.refresh_token, refresh_token_expires_at=ends)
    return "woken", _replace(login, old, given, context, terms, epoch=epoch)


def _replace(login: Login, old: Account, given: Tokens, context: Context, terms: Terms, *, epoch: str) -> Account:
    ends = given.refresh_token_expires_at if given.refresh_token else old.tokens.refresh_token_expires_at
    tokens = evolve(
        given,
        # Absent is not erased: a new login that brings no refresh token does not end the old one's.
        refresh_token=given.refresh_token or old.tokens.refresh_token,
        refresh_token_expires_at=ends,
        trade_token=given.trade_token or old.tokens.trade_token,
        metadata=old.tokens.metadata if given.metadata is None else given.metadata,
        account_id=given.account_id or old.tokens.account_id,
        mesh_account_id=given.mesh_account_id or old.tokens.mesh_account_id,
        account_name=given.account_name or old.tokens.account_name,
        broker_name=given.broker_name or old.tokens.broker_name,
        ref=old.tokens.ref if given.ref is None else given.ref,
    )
    account = _new_account(login.login_id, tokens, context, terms, epoch=epoch, old=old, after=login.attempt)
    credential = context.credential(tokens)
    if credential is None or credential != context.credential(old.tokens):
        return account
    # An exchange that is in flight spends this very token, and its outcome is of this account.
    return _with_past(evolve(account, epoch=old.epoch, body=old.body), old)


def _with_past(account: Account, old: Account) -> Account:
    """`account`, which has the credential of `old`, with all that was sent with it, and what came of that."""
    account = evolve(account, **{name: getattr(old, name) for name in _PAST})
    if not old.parked:
        # A parked account is woken instead: its tokens are sent once more, as if they had not been refused.
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


def _with_siblings_token(account: Account, siblings: Sequence[Account], credential: Credential) -> Account:
    """`account`, which is new, with the token that came after its own, where a sibling has spent that.

    Accounts of one login may share a token. With it comes all that is known of it.
    """
    token = credential(account.tokens)
    if token is None:
        return account
    mark = fingerprints.fingerprint(token)
    having = [other for other in siblings if credential(other.tokens) == token]
    had = [other for other in siblings if fingerprints.was_seen(other.known, mark)]
    having += [other for other in had if credential(other.tokens) is not None]
    if not having:
        return account
    tokens = pass_on(account.tokens, token, having[0].tokens, credential)
    return _with_past(account if tokens is account.tokens else evolve(account, tokens=tokens), having[0])


def _new_account(
    login_id: str,
    tokens: Tokens,
    context: Context,
    terms: Terms,
    *,
    epoch: str,
    old: Account | None = None,
    after: int = 0,
) -> Account:
    """An account that is added, in the place of `old`. `after`: the last attempt of its login, which cannot have sent
    its tokens.
    """
    now, state = context.now, working_state(tokens, context.credential, old)
    known = "" if old is None else fingerprints.remember_added(old.known, old.tokens, context.credential)
    if tokens.obtained_at is None:
        tokens = evolve(tokens, obtained_at=now)  # margins are fractions of a lifetime, which needs a beginning
    is_active = state is AccountState.ACTIVE
    # Made twice, the second time with its due time: `attrs.evolve` takes five times as long.
    build = partial(
        Account,
        tokens,
        state,
        epoch=epoch,
        settled_by=after,
        renewed_at=tokens.obtained_at if tokens.refresh_token is not None else None,
        needs_code=is_active and not terms.on_demand.isdisjoint((ALL_BROKERS, str(tokens.broker))),
        known=fingerprints.remember_added(known, tokens, context.credential),
    )
    account, chance = build(), chance_of(login_id, 0)
    due = next_due(account, context.policy, chance=chance, now=now)
    if terms.at_once and is_active and not account.needs_code:
        due = max(now, tokens.not_before or now)
    if terms.over and due is not None and due <= now:
        due = now + terms.over * chance
    return build(due_at=due)


def _id(tokens: Tokens) -> str | None:
    return tokens.account_id or tokens.mesh_account_id
