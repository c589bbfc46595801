"""Holdings: which tokens a program has saved, which of them together, and for which account. Pure."""

from collections.abc import Collection, Iterable, Sized

from attrs import define, field, frozen

from mesh_refresh.tokens import Tokens


def counted(values: Sized) -> str:
    """A `repr` that tells how many there are, and shows none."""
    return f"<{len(values)}>"


@frozen
class Held:
    """Tokens that are kept together."""

    values: frozenset[str] = field(repr=counted)
    account_id: str | None = None
    """The account that they are kept for; None where the holder has no id for it."""
    mesh_account_id: str | None = None
    is_loose: bool = False
    """Only these are known of: the rest, such as the access token that they belong to, may be kept beside them."""

    def is_for_another(self, ids: Collection[str], all_ids: Collection[str]) -> bool:
        """Whether they are kept for an account of `all_ids` that is none of `ids`."""
        names = {self.account_id, self.mesh_account_id} - {None}
        return any(name in all_ids and name not in ids for name in names)


@define(eq=False)
class Holdings:
    """Everything that is held, found by each token."""

    _by_value: dict[str, set[Held]] = field(factory=dict, repr=counted)

    @classmethod
    def of(cls, all_held: Iterable[Held]) -> "Holdings":
        """All that is kept."""
        found = cls()
        for held in all_held:
            found.add(held)
        return found

    def add(self, held: Held) -> None:
        """These are kept from now on."""
        for value in held.values:
            self._by_value.setdefault(value, set()).add(held)

    def with_value(self, value: str) -> Collection[Held]:
        """All that have this token."""
        return self._by_value.get(value, ())

    def __contains__(self, value: object) -> bool:
        return value in self._by_value

    def issuperset(self, values: Iterable[str]) -> bool:
        """Whether each of these tokens is held somewhere."""
        return all(value in self._by_value for value in values)


def held_as(tokens: Tokens) -> Held:
    """`tokens` as a holder keeps them, for the account that they name."""
    if not isinstance(tokens, Tokens):
        raise TypeError(f"What is held are Tokens, and not {type(tokens).__name__}.")
    return Held(frozenset(tokens.secrets), tokens.account_id, tokens.mesh_account_id)
