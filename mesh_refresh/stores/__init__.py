"""Where logins are kept. `mesh_refresh.stores.sqlite` has the store that a service begins with."""

from mesh_refresh.stores.cipher import Cipher, PlainText
from mesh_refresh.stores.errors import StoreDamaged, StoreError, StoreRefused, StoreUnavailable, WrongKey
from mesh_refresh.stores.memory import MemoryStore
from mesh_refresh.stores.outbox import NoticeCounts, NoticePage, NoticeRow, Outbox
from mesh_refresh.stores.registry import ProcessReport, Registry, StoredFigures
from mesh_refresh.stores.row import BrokerPause, Busy, ClaimRequest, Count, LoginNames, Page, Resealed, Row
from mesh_refresh.stores.sealing import Sealing, row_of
from mesh_refresh.stores.store import Store

__all__ = [
    "Busy",
    "Cipher",
    "ClaimRequest",
    "Count",
    "LoginNames",
    "MemoryStore",
    "NoticeCounts",
    "NoticePage",
    "NoticeRow",
    "Outbox",
    "Page",
    "BrokerPause",
    "PlainText",
    "ProcessReport",
    "Registry",
    "Resealed",
    "Row",
    "Sealing",
    "Store",
    "StoreDamaged",
    "StoreError",
    "StoreRefused",
    "StoreUnavailable",
    "StoredFigures",
    "WrongKey",
    "row_of",
]
