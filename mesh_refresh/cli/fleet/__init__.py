"""The commands that work on a store."""

from mesh_refresh.cli.fleet.answering import mfa
from mesh_refresh.cli.fleet.copying import copy
from mesh_refresh.cli.fleet.importing import import_logins
from mesh_refresh.cli.fleet.keys import key
from mesh_refresh.cli.fleet.listing import logins
from mesh_refresh.cli.fleet.migrating import migrate
from mesh_refresh.cli.fleet.pausing import pause, resume
from mesh_refresh.cli.fleet.removing import remove
from mesh_refresh.cli.fleet.running import run
from mesh_refresh.cli.fleet.salvage import salvage
from mesh_refresh.cli.fleet.status import status

COMMANDS = (import_logins, run, status, logins, mfa, pause, resume, salvage, remove, key, migrate, copy)

__all__ = ["COMMANDS"]
