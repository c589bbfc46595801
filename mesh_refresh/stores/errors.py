"""What can be wrong with a store."""

from mesh_refresh.errors import InvalidRequest, MeshRefreshError


class StoreError(MeshRefreshError):
    """The store did not do what it was asked for. Nothing that it held is lost by that.

    Its text gets into logs: a store of your own puts no secret and no value into it.
    """

    _what = "The store failed."
    _next = "What it holds is as it was."


class StoreUnavailable(StoreError):
    """The store cannot be used now: locked, full, read-only, not reachable. It may work again later."""

    retryable = True
    _what = "The store cannot be used at the moment."
    _next = "What it holds is as it was; it may work again later."


class StoreRefused(StoreUnavailable):
    """The store will not have us as things are: a wrong password, no such database, no tables or no right to use them.

    Or it will not do as it is: a database of another encoding, a server that is too old, one without TLS. Somebody
    has to mend that. A keeper that runs asks again all the same: while a password is changed, say, that helps.
    """

    _what = "The store cannot be used like this."
    _next = "What it holds is as it was; somebody has to mend this."


class StoreDamaged(StoreError):
    """The store holds something that cannot be read, or is of a version that this mesh_refresh does not know."""

    _what = "The store cannot be read."
    _next = "It was left as it is: keep it, and restore a backup beside it."


class StoreOfNewerVersion(StoreDamaged):
    """Nothing is wrong with the store, only a newer mesh_refresh reads it. Callers catch `StoreDamaged`."""

    _next = "Nothing in it was changed: update mesh_refresh here."


class WrongKey(StoreError):
    """What is sealed does not open with the keys at hand."""

    _what = "What the store holds is not sealed with any of these keys."
    _next = "Nothing was claimed or changed. Open it with the key that it was written with."


def package_missing(what: str, package: str, extra: str) -> InvalidRequest:
    """What `what` raises where an extra is not installed."""
    return InvalidRequest(
        f"{what} needs the package {package}, which the extra {extra} brings: "
        f"from a checkout, pip install '.[{extra}]'."
    )
