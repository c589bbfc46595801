"""Logins of every kind that can stand a crash, and a person who logs in again where one could not."""

from datetime import timedelta

from mesh_refresh.testing import FakeLogin, FakeMesh, Replies, Sharing

SINGLE = 60
GRACE = timedelta(minutes=5)


def fleet(fake: FakeMesh) -> list[FakeLogin]:
    """Left out is what no client can know: other strings over one pair, where a reply has only the one asked for."""
    logins = [fake.login("coinbase") for _ in range(SINGLE)]
    logins += [fake.login("robinhood", revokes_on_reuse=True) for _ in range(SINGLE // 2)]
    logins += [fake.login("weBull", revokes_on_reuse=True) for _ in range(SINGLE // 4)]
    logins += [fake.login("kraken", grace=GRACE) for _ in range(SINGLE // 4)]
    logins += [fake.login("tdAmeritrade") for _ in range(SINGLE // 6)]
    for sharing in Sharing:
        for replies in Replies:
            if (sharing, replies) != (Sharing.DIFFERENT_STRINGS, Replies.ASKED):
                logins += [
                    fake.login("etoro", accounts=3, sharing=sharing, replies_with=replies, revokes_on_reuse=revokes)
                    for revokes in (False, True)
                ]
    return logins


def with_codes(fake: FakeMesh) -> list[FakeLogin]:
    """Logins that ask for a code at each refresh."""
    return [fake.login("vanguard", mfa=True) for _ in range(4)]
