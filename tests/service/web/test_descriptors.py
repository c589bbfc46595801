"""Connections leave file descriptors for exchanges, the store and the spool."""

import resource
import sys

import pytest

from mesh_refresh.service.web.descriptors import fit_to_descriptors

ENDLESS = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "raised", "connections"),
    [
        (1024, 524_288, 8192, 1000),
        (1024, ENDLESS, 8192, 1000),
        (1024, 4096, 4096, 1000),
        (1024, 1024, 1024, 512),
        (256, 1024, 1024, 512),
        (20_000, 20_000, 20_000, 1000),
        (ENDLESS, ENDLESS, ENDLESS, 1000),
    ],
)
def test_half_of_the_descriptors_is_for_others(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, raised: int, connections: int
) -> None:
    limits = (soft, hard)

    def allow(_: int, wanted: tuple[int, int]) -> None:
        nonlocal limits
        limits = wanted

    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", allow)
    assert fit_to_descriptors(1000) == connections
    assert limits == (raised, hard)


def test_a_limit_that_cannot_be_raised_is_kept_to(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int, __: tuple[int, int]) -> None:
        raise PermissionError

    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 4096))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert fit_to_descriptors(1000) == 50


def test_where_nothing_limits_them_all_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    assert fit_to_descriptors(1000) == 1000
