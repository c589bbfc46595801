"""What a store raises."""

from mesh_refresh.errors import InvalidRequest, MeshRefreshError


class StoreError(MeshRefreshError):
    """The store did not do what it was asked for. Nothing that it held is lost by that.

    The text of the error gets into logs: a store of your own puts no secret and no value into it.
    """

    _what = "The store failed."
    _next = "Stored data is unchanged."


class StoreUnavailable(StoreError):
    """The store cannot be used now: locked, full, read-only, not reachable. It may work again later."""

    retryable = True
    _what = "The store cannot be used at the moment."
    _next = "Stored data is unchanged. The store may work again later."


class StoreRefused(StoreUnavailable):
    """The store refuses us, or does not meet our needs: an operator has to fix that.

    It refuses us by a wrong password, or because there is no such database, no table or no right to use one. It does
    not meet our needs with another encoding, as too old a server, or without TLS. A keeper that runs tries again all
    the same: a password may be changed meanwhile.
    """

    _what = "The store cannot be used like this."
    _next = "Stored data is unchanged. An operator has to fix this."


class StoreDamaged(StoreError):
    """The store holds something that cannot be read, or is of a version that this mesh_refresh does not know."""

    _what = "The store cannot be read."
    _next = "Stored data is unchanged. Keep it, and restore a backup beside it."


class StoreOfNewerVersion(StoreDamaged):
    """The store is sound, but only a newer mesh_refresh can read it. Callers catch `StoreDamaged`."""

    _next = "Nothing in it was changed: update mesh_refresh here."


class WrongKey(StoreError):
    """A sealed value does not open with any of the keys that the cipher has."""

    _what = "What the store holds is not sealed with any of these keys."
    _next = "Nothing was claimed or changed. Open it with the key that it was written with."


def package_missing(what: str, package: str, extra: str) -> InvalidRequest:
    """The error of `what`, which needs an extra that is not installed."""
    return InvalidRequest(
        f"{what} needs the package {package}, which the extra {extra} brings: "
        f"from a checkout, pip install '.[{extra}]'."
    )
