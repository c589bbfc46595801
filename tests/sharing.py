"""How the accounts of a login can share tokens, and how replies can list them: the pairs that stories run through."""

from mesh_refresh.testing import Replies, Sharing

MODES = [(sharing, replies) for sharing in Sharing for replies in Replies]
"""All pairs."""

UNKNOWABLE = (Sharing.DIFFERENT_STRINGS, Replies.ASKED)
"""No client can know that an exchange has killed the strings of the siblings."""

KNOWABLE = [mode for mode in MODES if mode != UNKNOWABLE]
"""Pairs in which a client that reads replies loses nothing."""

UNCLEAR = [(Sharing.PAIR_EACH, Replies.ALL), (Sharing.DIFFERENT_STRINGS, Replies.ALL)]
"""Pairs in which replies without names leave open which tokens are whose."""

CLEAR = [mode for mode in KNOWABLE if mode not in UNCLEAR]
"""Pairs in which a reply without names leaves no doubt."""
