"""What can be wrong with a question about a login."""

from mesh_refresh.errors import MeshRefreshError


class UnknownLogin(MeshRefreshError, LookupError):
    """There is no login of that id in the store."""

    _what = "There is no such login in the store."
    _next = "Nothing was sent. Add it, or look at the id."


class LoginMoved(UnknownLogin):
    """The login was here, and is in another store now."""

    _what = "The login was moved to another store."
    _next = "Nothing was sent. Ask a keeper on that store."


class UnknownAccount(UnknownLogin):
    """The login is there, but has no such account."""

    _what = "The login has no such account."
    _next = "Nothing was sent. Its accounts are in .accounts of the login."


class AmbiguousAccount(MeshRefreshError, LookupError):
    """The login has several accounts, and none was named."""

    _what = "The login has several accounts, and it was not said which one is meant."
    _next = "Nothing was sent. Name the account by its account_id."

    def __init__(self, what: str | None = None, *, account_ids: tuple[str, ...] = ()) -> None:
        super().__init__(what)
        self.account_ids = account_ids
        """The accounts to choose from, as `Login.account` takes them. One without any id is left out."""
