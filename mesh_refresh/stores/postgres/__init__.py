"""`PostgresStore`: a fleet in PostgreSQL, for workers on many machines. Needs the extra ``postgres``."""

from mesh_refresh.stores.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
