"""The keeper: keeps a fleet of logins fresh, and never loses a rotated token."""

from mesh_refresh.keeper.app import App
from mesh_refresh.keeper.errors import (
    CodeNotWanted,
    KeeperClosed,
    KeeperLeaving,
    LeftInSpool,
    LoginExists,
    NotReadyInTime,
    ReconnectNeeded,
)
from mesh_refresh.keeper.events import (
    AccountEvent,
    AccountJoined,
    AccountRefreshed,
    AccountUnreadable,
    AttemptFailed,
    BreakerClosed,
    BreakerEvent,
    BreakerFault,
    BreakerOpened,
    Event,
    MfaNeeded,
    ReconnectRequired,
    ReconnectSoon,
)
from mesh_refresh.keeper.keeper import Keeper
from mesh_refresh.keeper.listing import UnopenedRow
from mesh_refresh.keeper.notices import Notice, NoticeHandler, NoticeKind, PacedHandler, StopNotices, TryNoticeAgain
from mesh_refresh.keeper.policy import Policy
from mesh_refresh.keeper.reporting.documents import Minute, Process
from mesh_refresh.keeper.rules.add import Added
from mesh_refresh.keeper.status import BrokerSummary, Health, Summary
from mesh_refresh.keeper.transfer.copy_fleet import Copied, copy_fleet
from mesh_refresh.keeper.transfer.take_back import TakenBack, take_back
from mesh_refresh.logins import (
    Account,
    AccountState,
    AmbiguousAccount,
    Login,
    LoginMoved,
    Moving,
    Pending,
    Reason,
    UnknownAccount,
    UnknownLogin,
    Way,
)
from mesh_refresh.logins.versions import version_of

__all__ = [
    "Account",
    "AccountEvent",
    "AccountJoined",
    "AccountRefreshed",
    "AccountState",
    "AccountUnreadable",
    "Added",
    "AmbiguousAccount",
    "App",
    "AttemptFailed",
    "BreakerClosed",
    "BreakerEvent",
    "BreakerFault",
    "BreakerOpened",
    "BrokerSummary",
    "CodeNotWanted",
    "Copied",
    "Event",
    "Health",
    "Keeper",
    "KeeperClosed",
    "KeeperLeaving",
    "LeftInSpool",
    "Login",
    "LoginExists",
    "LoginMoved",
    "MfaNeeded",
    "Minute",
    "Moving",
    "NotReadyInTime",
    "Notice",
    "NoticeHandler",
    "NoticeKind",
    "PacedHandler",
    "Pending",
    "Policy",
    "Process",
    "Reason",
    "ReconnectNeeded",
    "ReconnectRequired",
    "ReconnectSoon",
    "StopNotices",
    "Summary",
    "TakenBack",
    "TryNoticeAgain",
    "UnknownAccount",
    "UnknownLogin",
    "UnopenedRow",
    "Way",
    "copy_fleet",
    "take_back",
    "version_of",
]
