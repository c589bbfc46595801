"""``mesh-refresh refresh``: accounts in, accounts out, and no token lost between."""

from mesh_refresh.cli.refresh.command import refresh

__all__ = ["refresh"]
