"""Any tokens that a user can make, for Hypothesis."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import strategies as st

from mesh_refresh import BrokerType, Tokens

UNICODE = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
"""Text that can be written down: no lone surrogates."""
_TEXT = st.none() | UNICODE
_ZONES = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
_FIRST, _LAST = datetime(2, 1, 1), datetime(9998, 1, 1)  # noqa: DTZ001 - Hypothesis adds the zone
_MOMENTS = st.none() | st.datetimes(min_value=_FIRST, max_value=_LAST, timezones=st.just(UTC) | _ZONES)
TOKENS = st.builds(
    Tokens,
    st.sampled_from(list(BrokerType)) | UNICODE.filter(str.strip),
    _TEXT,
    access_token=_TEXT,
    trade_token=_TEXT,
    token_id=_TEXT,
    metadata=st.none() | st.dictionaries(UNICODE, _TEXT, max_size=3),
    account_id=_TEXT,
    mesh_account_id=_TEXT,
    ref=st.none() | UNICODE | st.integers(-(2**63), 2**63 - 1),
    obtained_at=_MOMENTS,
    expires_at=_MOMENTS,
    refresh_token_expires_at=_MOMENTS,
    not_before=_MOMENTS,
)
