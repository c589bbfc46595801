"""The accounts of one run: what the input held, and what came of each. Pure."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import define, evolve, field

from mesh_refresh import InvalidRequest, MfaRequired, Refreshed, Tokens
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.masking import MaskedDict
from mesh_refresh.replies.brought import adopt
from mesh_refresh.replies.identity import has_id, owners
from mesh_refresh.replies.lineage import pass_on, refresh_token_of, successor
from mesh_refresh.replies.saving import for_any_account

_DOUBTFUL = "not sent: the reply for another account of its login may have renewed it, and names no account."
_SPENT = "its token was spent for another account of its login, and which of the new ones is its own is not known."


@define(eq=False)
class AccountEntry:
    """One account."""

    number: int
    """Its place, by which outcomes are known: it is sent through the client as the `ref`."""
    tokens: Tokens
    ref: str | int | None
    """The user's own key, which `tokens.ref` gives way to when it is written."""
    login: int
    """Accounts of one login have the same number here."""
    label: str | int | None = None
    """What the documents call the login, where it has several accounts."""
    own: Mapping[str, Any] = field(factory=MaskedDict, repr=False)
    """Keys of the user's own in the document."""
    pending: MfaRequired | None = None
    renewed: bool = False
    """In this run."""
    told: bool = False
    """The person knows of it."""
    unclear: str | None = None
    """The name that it had until a reply had several pairs and named none: it stands for one of them since."""
    held_back: str | None = None
    """Why it is not to be sent in this run."""
    code: Exit | None = None
    """None until something has come of it."""

    @property
    def name(self) -> str:
        """For messages: broker and account, nothing secret."""
        account = self.tokens.account_id or self.tokens.mesh_account_id
        return " ".join(str(part) for part in (self.tokens.broker, account or self.ref) if part is not None)

    def take(self, fresh: Tokens, brought: frozenset[str], outcome: Refreshed | MfaRequired) -> None:
        """Put what was `brought` of `fresh` in place of the tokens. The rest is kept: absent is not erased."""
        spent = outcome.before.refresh_token
        new = successor(outcome.all_tokens, outcome.asked, refresh_token_of)
        stored = pass_on(self.tokens, spent, new, refresh_token_of)
        self.tokens = adopt(stored, fresh, brought, own=fresh.ref == self.number)
        if isinstance(outcome, Refreshed):
            self.pending, self.renewed, self.code = None, True, Exit.REFRESHED

    def stand_for(self, fresh: Tokens) -> None:
        """Hold `fresh`, one of several pairs without a name, in place of the own tokens, which may be spent.

        Nothing says that it is of this account, so this has no name from here on.
        """
        self.unclear = self.name if has_id(self.tokens) else None
        self.code = Exit.REFRESHED if self.unclear is None else Exit.NOT_IN_REPLY
        self.tokens, self.pending, self.renewed = evolve(fresh, ref=self.number), None, True


@define(eq=False)
class Accounts:
    """All of them, in the order of the input; accounts that a reply adds come last."""

    entries: list[AccountEntry] = field(factory=list)
    _members: dict[int, list[AccountEntry]] = field(factory=dict)
    """The accounts of each login."""
    _logins: dict[tuple[str, str, str], int] = field(factory=dict)
    """The login of each label, and of each refresh token of the input, by broker."""
    _mesh_ids: dict[tuple[str, str], AccountEntry] = field(factory=dict)
    """By broker and Mesh's id."""
    _untold: list[AccountEntry] = field(factory=list)

    def add(
        self,
        accounts: Sequence[Tokens],
        label: str | int | None = None,
        pending: MfaRequired | None = None,
        own: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Accounts of one login: those with its `label`, or with a refresh token of its, join it.

        `own` are the user's own keys beside each.
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
        """Those that were renewed since the last call."""
        found, self._untold = self._untold, []
        return found

    @property
    def changed(self) -> bool:
        """Whether there is anything new to write."""
        return any(entry.renewed or entry.pending is not None for entry in self.entries)

    def record(self, outcome: Refreshed | MfaRequired) -> set[int]:
        """Put every token of `outcome` where it belongs. Gives the places of all accounts that have changed."""
        entry = self.entry_of(outcome.before)
        if isinstance(outcome, MfaRequired):
            entry.tokens, entry.pending = outcome.tokens, outcome
        members = self._members[entry.login]
        before = [(it, it.tokens, it.label) for it in members]
        assigned, left = self._assigned(entry, members, outcome)
        taken = {entry}
        for index, (fresh, brought) in enumerate(zip(outcome.all_tokens, outcome.brought, strict=True)):
            owner = assigned.get(index)
            if owner is not None:
                owner.take(fresh, brought, outcome)
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
        self._untold += [it for it in taken if it.renewed and not it.told]
        for it in taken:
            it.told |= it.renewed
            self._note_mesh_id(it)
        changed = [it for it, tokens, label in before if it.tokens is not tokens or it.label != label]
        return {it.number for it in (*taken, *changed)}

    def forget_continuations(self) -> None:
        """Begin anew where a code was asked for."""
        for entry in self.entries:
            entry.pending = None

    def entry_of(self, sent: Tokens) -> AccountEntry:
        """The account that was sent."""
        number = sent.ref
        if not isinstance(number, int) or not 0 <= number < len(self.entries):
            raise InvalidRequest("These tokens are not of this run.")
        return self.entries[number]

    def keep(self, accounts: Iterable[Tokens], before: Tokens) -> set[int]:
        """The last resort: put down, as accounts of their own, those of `accounts` that are not in the book.

        Gives their places, and those of the accounts of their login: `record` may have broken off half-way.
        """
        kept = {it.number for it in self._members[self.entry_of(before).login]}
        held = {secret for entry in self.entries for secret in entry.tokens.secrets}
        for tokens in accounts:
            if not held.issuperset(tokens.secrets):
                entry = self._append(self.entry_of(before), tokens)
                entry.renewed = True
                kept.add(entry.number)
        return kept

    def _joined(self, login: int, tokens: Tokens, label: str | int | None) -> int:
        """The login that these are of: `login`, or one with the same label or refresh token."""
        named = (("label", label), ("token", tokens.refresh_token))
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
        self._members[other] = sorted([*self._members[other], *moved], key=lambda it: it.number)
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
        """Which account each entry of the reply is of. Second: the accounts that the entries without a name stand for.

        Those are all that the reply left, where it is unclear which pair is whose: their own tokens may be spent, so
        none of them is sent again.
        """
        fresh = outcome.all_tokens
        given = {index: members.index(asked) for index, it in enumerate(fresh) if it.ref == asked.number}
        found = owners(fresh, [it.tokens for it in members], given=given)
        assigned = {index: members[place] for index, place in enumerate(found.of) if place is not None}
        for index, it in enumerate(fresh):
            if index not in assigned and (other := self._elsewhere(it)) is not None:
                assigned[index] = other
        if not isinstance(outcome, Refreshed) or not found.unclear or found.unclear == (outcome.shared,):
            return assigned, []
        owned = set(assigned.values())
        left = sorted([it for it in members if it not in owned], key=lambda it: it is not asked)
        if len(found.unclear) < len(left):
            # Some of them were not renewed, and what they hold may be good.
            for member in left:
                member.held_back = None if member is asked else _DOUBTFUL
            left = [it for it in left if it is asked or not has_id(it.tokens)]
        return assigned, left

    def _elsewhere(self, fresh: Tokens) -> AccountEntry | None:
        """The account of another login that Mesh's id names: the input may have one login under two labels."""
        return self._mesh_ids.get((str(fresh.broker), fresh.mesh_account_id or ""))

    def _share(self, outcome: Refreshed | MfaRequired, members: list[AccountEntry], taken: set[AccountEntry]) -> None:
        """A pair that serves every account of the login goes to those without an entry of their own."""
        if isinstance(outcome, Refreshed) and outcome.shared is not None:
            pair, brought = outcome.all_tokens[outcome.shared], outcome.brought[outcome.shared]
            for entry in members:
                if entry not in taken:
                    entry.take(for_any_account(pair), brought, outcome)
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
        """Accounts that shared the refresh token which was spent, and that the reply left out, take its successor."""
        spent, new = outcome.before.refresh_token, successor(outcome.all_tokens, outcome.asked, refresh_token_of)
        for entry in self._members[asked.login]:
            if entry not in taken and entry.tokens.broker == asked.tokens.broker:
                entry.tokens = pass_on(entry.tokens, spent, new, refresh_token_of)

    @staticmethod
    def _drop_spent(outcome: Refreshed | MfaRequired, members: list[AccountEntry]) -> None:
        """The token that was sent goes where a new one came for it, be it not known for which account."""
        spent = outcome.before.refresh_token
        given = {it.refresh_token for it, names in zip(outcome.all_tokens, outcome.brought, strict=True) if names}
        news = any("refresh_token" in names for names in outcome.brought)
        if spent is None or spent in given or not news:
            return
        for entry in members:
            if entry.tokens.refresh_token == spent:
                entry.tokens = evolve(entry.tokens, refresh_token=None, refresh_token_expires_at=None)
                entry.held_back = _SPENT

    def _label(self, login: int) -> None:
        """A name for a login of several accounts: drawn at random, so that files can be put together."""
        members = self._members[login]
        if len(members) > 1:
            label = next((entry.label for entry in members if entry.label), None) or uuid.uuid4().hex
            for entry in members:
                entry.label = label


def with_ref(pending: MfaRequired, ref: str | int | None) -> MfaRequired:
    """`pending` with the user's own key in place of the number that was sent, or the other way round."""
    asked = pending.tokens.ref
    return evolve(
        pending,
        before=evolve(pending.before, ref=ref),
        tokens=evolve(pending.tokens, ref=ref),
        all_tokens=tuple(evolve(tokens, ref=ref) if tokens.ref == asked else tokens for tokens in pending.all_tokens),
    )
