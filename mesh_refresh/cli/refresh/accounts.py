"""The accounts of one run: which documents form a login, and to which account each token of a reply belongs. Pure.

The input is all that a run knows: it has no store, and numbers no attempts. So an account whose tokens may be spent is
held back for the rest of the run, and the output says so. `mesh_refresh.keeper.rules.siblings` decides for a store when
an account that a reply leaves out may be sent again.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import define, evolve, field

from mesh_refresh import InvalidRequest, MfaRequired, Refreshed, Tokens
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.masking import MaskedDict
from mesh_refresh.replies.brought import adopt, for_any_account
from mesh_refresh.replies.identity import has_id, owners
from mesh_refresh.replies.lineage import Credential, pass_on, refresh_token_of, successor

_DOUBTFUL = "not sent: the reply for another account of its login may have renewed it, and names no account."
_SPENT = "its token was spent for another account of its login, and which of the new ones is its own is not known."


@define(eq=False)
class AccountEntry:
    """One account."""

    number: int
    """Its place in the output. The client gets it as the `ref`, and so an outcome names the account."""
    tokens: Tokens
    ref: str | int | None
    """The user's own `ref`, which the output has in place of the number."""
    login: int
    """The number of the login: its accounts have the same."""
    label: str | int | None = None
    """The name of the login in the documents, if it has several accounts."""
    own: Mapping[str, Any] = field(factory=MaskedDict, repr=False)
    """The user's own keys in the document."""
    pending: MfaRequired | None = None
    renewed: bool = False
    """Whether this run has refreshed it."""
    told: bool = False
    """Whether a message has named it as refreshed."""
    unclear: str | None = None
    """Its former name. A reply had several pairs and named no account: this entry holds one of the pairs."""
    held_back: str | None = None
    """Why this run does not send it."""
    code: Exit | None = None
    """Its exit code; None as long as it has no outcome."""

    @property
    def name(self) -> str:
        """Broker and account, for messages. Nothing secret."""
        account = self.tokens.account_id or self.tokens.mesh_account_id
        return " ".join(str(part) for part in (self.tokens.broker, account or self.ref) if part is not None)

    def take(
        self, fresh: Tokens, brought: frozenset[str], outcome: Refreshed | MfaRequired, credential: Credential
    ) -> None:
        """Replace the tokens by what a reply `brought` in `fresh`. Absent fields are kept, not erased."""
        stored = _with_successor(self.tokens, outcome, credential)
        self.tokens = adopt(stored, fresh, brought, own=fresh.ref == self.number)
        if isinstance(outcome, Refreshed):
            self.pending, self.renewed, self.code = None, True, Exit.REFRESHED

    def stand_for(self, fresh: Tokens) -> None:
        """Hold `fresh`, one of several pairs without a name, in place of the entry's tokens, which may be spent.

        The entry has no name from then on, because the pair may belong to another account of the login.
        """
        self.unclear = self.name if has_id(self.tokens) else None
        self.code = Exit.REFRESHED if self.unclear is None else Exit.NOT_IN_REPLY
        self.tokens, self.pending, self.renewed = evolve(fresh, ref=self.number), None, True


@define(eq=False)
class Accounts:
    """All accounts, in the order of the input. Accounts that a reply adds come last."""

    credential: Credential = refresh_token_of
    """What an exchange of tokens spends, by the strategy of their broker."""
    entries: list[AccountEntry] = field(factory=list)
    _members: dict[int, list[AccountEntry]] = field(factory=dict)
    """The accounts of each login."""
    _logins: dict[tuple[str, str, str], int] = field(factory=dict)
    """The login of each label, and of each credential of the input, by broker."""
    _mesh_ids: dict[tuple[str, str], AccountEntry] = field(factory=dict)
    """The account of each Mesh id, by broker."""
    _untold: list[AccountEntry] = field(factory=list)

    def add(
        self,
        accounts: Sequence[Tokens],
        label: str | int | None = None,
        pending: MfaRequired | None = None,
        own: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Add accounts of one login. Documents with the same `label`, or with the same credential, are one login.

        `own` are the user's own keys beside each account.
        """
        login = len(self.entries)
        for index, tokens in enumerate(accounts):
            login = self._joined(login, tokens, label)
            number = len(self.entries)
            beside = own[min(index, len(own) - 1)] if own else MaskedDict()
            entry = AccountEntry(number, evolve(tokens, ref=number), tokens.ref, login, label, beside)
            entry.pending = None if pending is None else with_ref(pending, number)
            self._put(entry)

    def logins(self) -> list[list[AccountEntry]]:
        """The accounts, login by login."""
        return list(self._members.values())

    def untold(self) -> list[AccountEntry]:
        """The accounts that were refreshed since the last call."""
        found, self._untold = self._untold, []
        return found

    @property
    def changed(self) -> bool:
        """Whether the output would differ from the input."""
        return any(entry.renewed or entry.pending is not None for entry in self.entries)

    def record(self, outcome: Refreshed | MfaRequired) -> set[int]:
        """Give every token of `outcome` to its account. Returns the numbers of the accounts that changed."""
        entry = self.entry_of(outcome.before)
        if isinstance(outcome, MfaRequired):
            entry.tokens, entry.pending = outcome.tokens, outcome
        members = self._members[entry.login]
        before = [(member, member.tokens, member.label) for member in members]
        assigned, left = self._assigned(entry, members, outcome)
        taken = {entry}
        for index, (fresh, brought) in enumerate(zip(outcome.all_tokens, outcome.brought, strict=True)):
            owner = assigned.get(index)
            if owner is not None:
                owner.take(fresh, brought, outcome, self.credential)
            elif not has_id(fresh) and left:
                owner = left.pop(0)
                owner.stand_for(fresh)
            else:
                owner = self._append(entry, fresh, outcome)
            taken.add(owner)
        self._share(outcome, members, taken)
        self._pass_on(entry, outcome, taken)
        self._drop_spent(outcome, members)
        self._label(entry.login)
        self._untold += [member for member in taken if member.renewed and not member.told]
        for member in taken:
            member.told |= member.renewed
            self._note_mesh_id(member)
        changed = [member for member, tokens, label in before if member.tokens is not tokens or member.label != label]
        return {member.number for member in (*taken, *changed)}

    def forget_continuations(self) -> None:
        """Drop the open questions: the broker is asked for a new code."""
        for entry in self.entries:
            entry.pending = None

    def entry_of(self, sent: Tokens) -> AccountEntry:
        """The account to which the tokens of a request belong."""
        number = sent.ref
        if not isinstance(number, int) or not 0 <= number < len(self.entries):
            raise InvalidRequest("These tokens do not belong to this run.")
        return self.entries[number]

    def keep(self, accounts: Iterable[Tokens], before: Tokens) -> set[int]:
        """The last resort after an error in `record`: add tokens that no entry holds as accounts of their own.

        Returns the numbers of these and of all accounts of the login: `record` may have stopped half-way.
        """
        kept = {entry.number for entry in self._members[self.entry_of(before).login]}
        held = {secret for entry in self.entries for secret in entry.tokens.secrets}
        for tokens in accounts:
            if not held.issuperset(tokens.secrets):
                entry = self._append(self.entry_of(before), tokens)
                entry.renewed = True
                kept.add(entry.number)
        return kept

    def _joined(self, login: int, tokens: Tokens, label: str | int | None) -> int:
        """The login of these tokens: `login`, or one with the same label or credential."""
        named = (("label", label), ("token", self.credential(tokens)))
        marks = [(str(tokens.broker), kind, str(it)) for kind, it in named if it is not None]
        for mark in marks:
            other = self._logins.get(mark, login)
            if other != login:
                self._unite(login, other)
                login = other
        for mark in marks:
            self._logins[mark] = login
        return login

    def _unite(self, login: int, other: int) -> None:
        moved = self._members.pop(login, [])
        for entry in moved:
            entry.login = other
        self._members[other] = sorted([*self._members[other], *moved], key=lambda entry: entry.number)
        for mark in [mark for mark in self._logins if self._logins[mark] == login] if moved else ():
            self._logins[mark] = other

    def _put(self, entry: AccountEntry) -> None:
        self.entries.append(entry)
        self._members.setdefault(entry.login, []).append(entry)
        self._note_mesh_id(entry)

    def _note_mesh_id(self, entry: AccountEntry) -> None:
        if entry.tokens.mesh_account_id is not None:
            self._mesh_ids.setdefault((str(entry.tokens.broker), entry.tokens.mesh_account_id), entry)

    def _assigned(
        self, asked: AccountEntry, members: list[AccountEntry], outcome: Refreshed | MfaRequired
    ) -> tuple[dict[int, AccountEntry], list[AccountEntry]]:
        """The account of each entry of the reply, by index; and the accounts that take the entries without a name.

        Entries without a name, whose account is unclear, go to accounts that the reply does not name. The tokens of
        these may be spent, so the run sends none of them again.
        """
        fresh = outcome.all_tokens
        given = {index: members.index(asked) for index, tokens in enumerate(fresh) if tokens.ref == asked.number}
        found = owners(fresh, [entry.tokens for entry in members], given=given)
        assigned = {index: members[place] for index, place in enumerate(found.of) if place is not None}
        for index, tokens in enumerate(fresh):
            if index not in assigned and (other := self._elsewhere(tokens)) is not None:
                assigned[index] = other
        if not isinstance(outcome, Refreshed) or not found.unclear or found.unclear == (outcome.shared,):
            return assigned, []
        owned = set(assigned.values())
        left = sorted([entry for entry in members if entry not in owned], key=lambda entry: entry is not asked)
        if len(found.unclear) < len(left):
            # Some of these accounts were not renewed, and their tokens may be valid.
            for member in left:
                member.held_back = None if member is asked else _DOUBTFUL
            left = [entry for entry in left if entry is asked or not has_id(entry.tokens)]
        return assigned, left

    def _elsewhere(self, fresh: Tokens) -> AccountEntry | None:
        """The account of another login with this Mesh id: the input may have one login under two labels."""
        return self._mesh_ids.get((str(fresh.broker), fresh.mesh_account_id or ""))

    def _share(self, outcome: Refreshed | MfaRequired, members: list[AccountEntry], taken: set[AccountEntry]) -> None:
        """Give a pair that serves every account of the login to the accounts without an entry of their own."""
        if isinstance(outcome, Refreshed) and outcome.shared is not None:
            pair, brought = outcome.all_tokens[outcome.shared], outcome.brought[outcome.shared]
            for entry in members:
                if entry not in taken:
                    entry.take(for_any_account(pair), brought, outcome, self.credential)
                    taken.add(entry)

    def _append(
        self, asked: AccountEntry, fresh: Tokens, outcome: Refreshed | MfaRequired | None = None
    ) -> AccountEntry:
        number = len(self.entries)
        entry = AccountEntry(number, evolve(fresh, ref=number), None, asked.login, asked.label)
        if isinstance(outcome, Refreshed):
            entry.renewed, entry.code = True, Exit.REFRESHED
        self._put(entry)
        return entry

    def _pass_on(self, asked: AccountEntry, outcome: Refreshed | MfaRequired, taken: set[AccountEntry]) -> None:
        """Give the successor of the spent credential to accounts that shared it and that the reply does not name."""
        for entry in self._members[asked.login]:
            if entry not in taken and entry.tokens.broker == asked.tokens.broker:
                entry.tokens = _with_successor(entry.tokens, outcome, self.credential)

    @staticmethod
    def _drop_spent(outcome: Refreshed | MfaRequired, members: list[AccountEntry]) -> None:
        """Erase the spent refresh token where it is left, if a new one came for an account that is not known."""
        spent = outcome.before.refresh_token
        given = {new.refresh_token for new, names in zip(outcome.all_tokens, outcome.brought, strict=True) if names}
        news = any("refresh_token" in names for names in outcome.brought)
        if spent is None or spent in given or not news:
            return
        for entry in members:
            if entry.tokens.refresh_token == spent:
                entry.tokens = evolve(entry.tokens, refresh_token=None, refresh_token_expires_at=None)
                entry.held_back = _SPENT

    def _label(self, login: int) -> None:
        """Give a login of several accounts a random label: its documents may be joined with those of other files."""
        members = self._members[login]
        if len(members) > 1:
            label = next((entry.label for entry in members if entry.label), None) or uuid.uuid4().hex
            for entry in members:
                entry.label = label


def _with_successor(stored: Tokens, outcome: Refreshed | MfaRequired, credential: Credential) -> Tokens:
    """`stored` with the credential that came after the one that the exchange spent, where it has that."""
    new = successor(outcome.all_tokens, outcome.asked, credential)
    return pass_on(stored, credential(outcome.before), new, credential)


def with_ref(pending: MfaRequired, ref: str | int | None) -> MfaRequired:
    """`pending` with `ref` in place of the former one: the user's own for the output, the number for the client."""
    asked = pending.tokens.ref
    return evolve(
        pending,
        before=evolve(pending.before, ref=ref),
        tokens=evolve(pending.tokens, ref=ref),
        all_tokens=tuple(evolve(tokens, ref=ref) if tokens.ref == asked else tokens for tokens in pending.all_tokens),
    )
