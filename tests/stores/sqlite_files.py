"""A store in a SQLite file that waits only shortly for others, so that tests of refusals are fast."""

from datetime import timedelta
from pathlib import Path

from mesh_refresh.stores import PlainText
from tests.stores.stopping import Opened


def a_store(path: Path) -> Opened:
    return Opened.open(path, cipher=PlainText(), busy_timeout=timedelta(milliseconds=50))
