"""Access keys, and the document that keeps them."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from mesh_refresh import InvalidRequest
from mesh_refresh.service.access import AccessKey, Scope
from mesh_refresh.service.access.keys import read_keys, write_keys
from mesh_refresh.service.access.rates import RateLimits
from mesh_refresh.service.access.tickets import TICKET_LASTS, Tickets

HASH = "0" * 64
GOOD = f'[keys.a]\nhash = "{HASH}"\nscopes = ["read"]\n'

ANY_TEXT = "".join(map(chr, (*range(0xD800), 0xE000, 0xFFFF, 0x10000, 0x10FFFF)))


def test_what_is_written_is_read() -> None:
    keys = (
        AccessKey("a", HASH, frozenset({Scope.READ})),
        AccessKey("0.b_C-d", HASH, frozenset(Scope), ANY_TEXT, 0.25, datetime(2026, 1, 1, 12, 30, 15, 7, UTC)),
        AccessKey("x" * 64, HASH, frozenset({Scope.TOKENS}), '"', 1e6),
    )
    assert read_keys(write_keys(keys).encode()) == keys
    assert read_keys(b"") == ()


def test_a_key_is_random_and_only_its_hash_is_kept() -> None:
    key, text = AccessKey.generate("a", [Scope.READ], prefix="p")
    assert text.startswith("mrk_")
    assert len(text) == len("mrk_") + 43  # 256 bits in base64
    assert key.hash == hashlib.sha256(str.__str__(text).encode()).hexdigest()
    assert str.__str__(text)[4:] not in write_keys([key]) + repr(key) + repr(text)
    assert key.hash not in repr(key)
    assert AccessKey.generate("a", [Scope.READ])[1] != text


def test_a_key_ends_at_its_end() -> None:
    end = datetime(2026, 1, 1, tzinfo=UTC)
    key = AccessKey("a", HASH, frozenset(Scope), expires=end)
    assert [key.is_expired(end + timedelta(seconds=at)) for at in (-1, 0, 1)] == [False, True, True]


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "a b"},
        {"name": "-a"},
        {"name": "a" * 65},
        {"hash": "0" * 63},
        {"hash": "A" * 64},
        {"scopes": frozenset()},
        {"rate": 0.0},
        {"rate": 1e-320},
        {"rate": 10**400},
        {"rate": float("nan")},
        {"rate": float("inf")},
        {"expires": datetime(2026, 1, 1)},  # noqa: DTZ001
    ],
)
def test_a_key_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest, match="This access key cannot be"):
        AccessKey(**{"name": "a", "hash": HASH, "scopes": frozenset(Scope), **wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "[keys.planted",
        "\udcff",
        "planted = 1",
        "keys = 1",
        "keys = [1]",
        "[keys]\nplanted = 1",
        GOOD + GOOD,
        GOOD.replace("read", "planted"),
        GOOD.replace('["read"]', '"read"'),
        GOOD.replace('["read"]', "1"),
        GOOD.replace("hash", "planted"),
        GOOD.replace(HASH, "planted"),
        GOOD.replace("keys.a", 'keys."planted name"'),
        GOOD + "planted = 1\n",
        GOOD + "prefix = 1\n",
        GOOD + 'rate = "planted"\n',
        GOOD + "rate = true\n",
        GOOD + "expires = 2026-01-01\n",
        GOOD + "expires = 12:00:00\n",
        GOOD + 'expires = "2026-01-01T00:00:00Z"\n',
    ],
)
def test_a_broken_document_is_refused_and_not_quoted(text: str) -> None:
    """Somebody may have put a key where the hash belongs."""
    with pytest.raises(InvalidRequest, match="access file") as caught:
        read_keys(text.encode(errors="surrogateescape"))
    assert "planted" not in str(caught.value)


def test_a_rate_is_a_bucket_of_a_second() -> None:
    limits = RateLimits()
    assert [limits.take("a", 2.0, 100.0) for _ in range(3)] == [0.0, 0.0, 0.5]
    assert limits.take("b", 2.0, 100.0) == 0.0
    assert [limits.take("a", 2.0, 100.5) for _ in range(2)] == [0.0, 0.5]
    assert [limits.take("a", 2.0, 200.0) for _ in range(3)] == [0.0, 0.0, 0.5]
    slow = [limits.take("slow", 0.1, at) for at in (100.0, 100.0, 109.0, 110.0)]
    assert slow == pytest.approx([0.0, 10.0, 1.0, 0.0])
    limits.keep(frozenset({"b"}))
    assert limits.take("a", 2.0, 200.0) == 0.0


def test_a_ticket_is_taken_once_and_in_time() -> None:
    tickets = Tickets()
    first, second = tickets.issue(100.0), tickets.issue(100.0)
    assert first != second
    assert not tickets.take("other", 100.0)
    assert tickets.take(first, 100.0)
    assert not tickets.take(first, 100.0)
    assert not tickets.take(second, 100.0 + TICKET_LASTS)
    assert str.__str__(first) not in repr(tickets)
