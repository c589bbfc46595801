"""Which version a schema is of, and whether it may be used or changed."""

from typing import Any

from attrs import frozen

from mesh_refresh.errors import InvalidRequest
from mesh_refresh.stores.errors import StoreDamaged, StoreOfNewerVersion, StoreRefused
from mesh_refresh.stores.postgres.connection.addresses import Target


@frozen
class Found:
    """What a schema is."""

    number: int = 0
    part: int = 0
    """How many parts of the next version are done."""
    oldest: int = 0


def checked(values: Any, newest: int, to: Target) -> Found:
    if values is None:
        raise StoreDamaged(f"The store {to.shown} does not say any more of which version it is.")
    found = Found(*values)
    if found.number > newest and not (found.number == newest + 1 and found.oldest <= newest):
        raise StoreOfNewerVersion(
            f"The store {to.shown} was made by a newer mesh_refresh: its version is {found.number}, and this one knows "
            f"up to {newest}."
        )
    return found


async def check_tables(connection: Any, sql: dict[str, str], to: Target) -> None:
    if (found := await connection.fetchrow(sql["no_table"], to.schema)) is None:
        return
    name, is_unlogged = found
    if is_unlogged:
        raise StoreRefused(
            f"The store {to.shown} could lose what was written: its table {name} is UNLOGGED, and a crash of the "
            "server empties it. ALTER TABLE ... SET LOGGED mends it."
        )
    raise StoreRefused(
        f"The store {to.shown} has something named {name} that is no plain table, or has row security: "
        "another program made it. Look into it, and make the tables in a schema that is yours alone."
    )


async def check_owner(connection: Any, sql: dict[str, str], to: Target) -> None:
    """Raises `StoreRefused` where another role could have left something that would run now."""
    if (owner := await connection.fetchval(sql["stranger"], to.schema)) is not None:
        raise StoreRefused(
            f"The store {to.shown} has a schema or a table that belongs to the role {owner}, which could run anything "
            "with the rights of who migrates. Migrate as that role, or give it to yours: ALTER SCHEMA ... OWNER TO, "
            "and ALTER TABLE likewise. Nothing was changed."
        )


def check_partitions(found: int, wanted: int, to: Target) -> None:
    if found != wanted:
        raise InvalidRequest(
            f"The store {to.shown} has {found or 'no'} partitions, and {wanted} were asked for. That is decided when "
            "its tables are made: make them in another schema, and copy the fleet into it. Nothing was changed."
        )
