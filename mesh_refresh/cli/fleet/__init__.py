"""The commands that work on a store."""

from mesh_refresh.cli.fleet.logins.import_logins import import_logins
from mesh_refresh.cli.fleet.logins.list_logins import list_logins
from mesh_refresh.cli.fleet.logins.mfa import mfa
from mesh_refresh.cli.fleet.logins.prune import prune
from mesh_refresh.cli.fleet.logins.remove import remove
from mesh_refresh.cli.fleet.logins.retry import retry
from mesh_refresh.cli.fleet.logins.salvage import salvage
from mesh_refresh.cli.fleet.logins.status import status
from mesh_refresh.cli.fleet.service.access import access
from mesh_refresh.cli.fleet.service.webhooks import webhooks
from mesh_refresh.cli.fleet.store.backup import backup
from mesh_refresh.cli.fleet.store.check import check
from mesh_refresh.cli.fleet.store.copy import copy
from mesh_refresh.cli.fleet.store.key import key
from mesh_refresh.cli.fleet.store.migrate import migrate
from mesh_refresh.cli.fleet.worker.health import health
from mesh_refresh.cli.fleet.worker.pause import pause, resume
from mesh_refresh.cli.fleet.worker.run import run
from mesh_refresh.cli.fleet.worker.serve import serve

COMMANDS = (
    import_logins,
    run,
    serve,
    health,
    status,
    list_logins,
    mfa,
    pause,
    resume,
    salvage,
    retry,
    remove,
    prune,
    key,
    check,
    backup,
    migrate,
    copy,
    webhooks,
    access,
)

__all__ = ["COMMANDS"]
