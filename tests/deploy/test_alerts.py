"""What is shipped for Prometheus and Grafana: each alert on planted series, the runbook, and the dashboard."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest

from mesh_refresh.telemetry import (
    BrokerFigures,
    ExchangeEnded,
    Figures,
    FleetCounted,
    KeeperEntered,
    KeeperState,
    PrometheusObserver,
    StoreFailed,
    TokensAnswered,
    WebhookAttempted,
)
from mesh_refresh.telemetry.series import ALL_SERIES
from tests.deploy.promtool import DEPLOY, RULES, alerts, assert_firing, check, needs_promtool
from tests.keeper.making import START

pytestmark = pytest.mark.once

WORKER = 'job="mesh", instance="worker"'
WEB = 'job="mesh", instance="web"'
ORDINARY = {
    # A busy fleet: some tokens are unsaved at each scrape, and now and then the store fails, or a broker throttles.
    f'mesh_refresh_store_failures_total{{{WORKER}, verb="swap"}}': "0x60 3x180",
    f'mesh_refresh_store_failures_total{{{WORKER}, verb="claim"}}': "0x100 4x140",
    f'mesh_refresh_store_failures_total{{{WEB}, verb="ping"}}': "_x50 1x100 2x90",
    f"mesh_refresh_unsaved_logins{{{WORKER}}}": "2x240",
    f"mesh_refresh_unsaved_logins{{{WEB}}}": "0x240",
    f"mesh_refresh_spool_files{{{WORKER}}}": "0x100 3x6 0x134",
    f'mesh_refresh_breaker_open{{{WORKER}, broker="coinbase", fault="throttled"}}': "_x20 1x100 0x120",
    f'mesh_refresh_breaker_open{{{WORKER}, broker="*", fault="not_sent"}}': "_x40 1x4 0x196",
    f"mesh_refresh_loop_last_round_timestamp_seconds{{{WORKER}}}": "0+15x240",
    f"mesh_refresh_most_overdue_seconds{{{WORKER}}}": "0+15x80 1200x10 4x150",
    f"mesh_refresh_notice_oldest_seconds{{{WORKER}}}": "_x10 0+15x40 _x190",
}
BY_INSTANCE = {"job": "mesh", "instance": "worker"}
FAULTS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    # The alert, what is planted for it, and the labels with which it fires.
    "MeshRefreshStoreAway": (
        {
            f'mesh_refresh_store_failures_total{{{WORKER}, verb="ping"}}': "_x60 0+7x180",
            f"mesh_refresh_unsaved_logins{{{WORKER}}}": "2x60 0x180",
        },
        BY_INSTANCE,
    ),
    "MeshRefreshHalted": (
        {f'mesh_refresh_breaker_open{{{WORKER}, broker="*", fault="client_refused"}}': "_x60 1x180"},
        {"job": "mesh", "fault": "client_refused"},
    ),
    "MeshRefreshOverdue": ({f"mesh_refresh_most_overdue_seconds{{{WORKER}}}": "0x60 900+15x180"}, {"job": "mesh"}),
    "MeshRefreshUnsaved": (
        {f'mesh_refresh_store_failures_total{{{WORKER}, verb="swap"}}': "0x60 0+3x180"},
        BY_INSTANCE,
    ),
    "MeshRefreshSpool": ({f"mesh_refresh_spool_files{{{WORKER}}}": "0x60 2x180"}, BY_INSTANCE),
    "MeshRefreshNoticesOld": ({f"mesh_refresh_notice_oldest_seconds{{{WORKER}}}": "_x60 0+15x180"}, {"job": "mesh"}),
    "MeshRefreshWorkerSilent": (
        {f"mesh_refresh_loop_last_round_timestamp_seconds{{{WORKER}}}": "0+15x60 900x180"},
        BY_INSTANCE,
    ),
}
NAMES = {one.name for one in ALL_SERIES}


@needs_promtool
@pytest.mark.parametrize("minute", [11, 14, 16, 27, 39, 59])
def test_none_fires_in_an_ordinary_hour(tmp_path: Path, minute: int) -> None:
    """With what happens in every fleet: a store that fails once, a broker that throttles, tokens on their way."""
    assert_firing(tmp_path, ORDINARY, {}, minute)


@needs_promtool
@pytest.mark.parametrize("name", FAULTS)
def test_each_fires_on_its_fault_alone(tmp_path: Path, name: str) -> None:
    """Which begins after a quarter of an hour; before that none does, and afterwards no other one."""
    planted, labels = FAULTS[name]
    assert_firing(tmp_path, {**ORDINARY, **planted}, {}, 14)
    assert_firing(tmp_path, {**ORDINARY, **planted}, {name: [labels]}, 58)


@needs_promtool
def test_a_fleet_without_any_worker_is_silent(tmp_path: Path) -> None:
    """Its series is absent then."""
    gone = {f"mesh_refresh_loop_last_round_timestamp_seconds{{{WORKER}}}": "0+15x60 stale"}
    assert_firing(tmp_path, {**ORDINARY, **gone}, {"MeshRefreshWorkerSilent": [{}]}, 58)


def test_every_alert_is_tested() -> None:
    """And is about series that there are."""
    assert set(alerts()) == set(FAULTS)
    for rule in alerts().values():
        assert set(re.findall(r"mesh_refresh_\w+", rule["expr"])) <= NAMES


def test_every_series_is_on_the_page() -> None:
    """With its labels, in their order."""
    rows = re.findall(r"^\| `(mesh_refresh_\w+)` \|([^|]*)\|", (DEPLOY.parent / "metrics.md").read_text(), re.MULTILINE)
    documented = {name: tuple(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    assert documented == {one.name: one.labels for one in ALL_SERIES}


def test_the_runbook_has_an_entry_for_each_alert() -> None:
    """To which the alert links, and none for an alert that is gone."""
    headings = re.findall(r"^## (MeshRefresh\w+)$", (DEPLOY / "runbook.md").read_text(), re.MULTILINE)
    assert headings == list(alerts())
    for name, rule in alerts().items():
        assert rule["annotations"]["runbook_url"] == f"docs/deploy/runbook.md#{name.lower()}"


def expressions(value: Any) -> list[str]:
    """Every query of a dashboard."""
    if isinstance(value, dict):
        mine = [value["expr"]] if "expr" in value else []
        return mine + [it for inner in value.values() for it in expressions(inner)]
    return [it for inner in value for it in expressions(inner)] if isinstance(value, list) else []


@needs_promtool
def test_the_dashboard_asks_for_series_that_there_are(tmp_path: Path) -> None:
    """promtool parses each query, and each series has the labels that it is asked for."""
    dashboard = json.loads((DEPLOY / "dashboard.json").read_text())
    found = [it.replace("$__rate_interval", "5m") for it in expressions(dashboard)]
    assert len(found) >= len(dashboard["panels"]) > 10
    rules = [{"record": f"it:{number}", "expr": expr} for number, expr in enumerate(found)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    ran = check(tmp_path, "check", "rules", "rules.yml")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    asked = {
        re.sub(r"_(bucket|count|sum)$", "", name) for expr in found for name in re.findall(r"mesh_refresh_\w+", expr)
    }
    assert asked <= NAMES
    assert NAMES - asked == set(), "no series is left out"
    labels = {label for one in ALL_SERIES for label in one.labels} | {"job", "instance", "le"}
    for expr in found:
        for names in re.findall(r"by \(([^)]*)\)", expr):
            assert set(names.replace(" ", "").split(",")) <= labels


@needs_promtool
def test_the_rules_are_valid(tmp_path: Path) -> None:
    """promtool says so, of the configuration that loads them too."""
    for what, file in (("rules", RULES), ("config", DEPLOY / "prometheus.yml")):
        ran = check(tmp_path, "check", what, file)
        assert ran.returncode == 0, ran.stdout + ran.stderr


@needs_promtool
def test_what_a_scrape_gives_is_well_formed(tmp_path: Path) -> None:
    """promtool finds nothing to complain of: no wrong suffix, no missing help."""
    observer = PrometheusObserver()
    for told in (
        ExchangeEnded("coinbase", "refreshed", 0.2, 1, 3.0),
        TokensAnswered("store", 0.001),
        StoreFailed("swap"),
        WebhookAttempted("taken"),
        KeeperEntered("k", lambda: KeeperState(1, 2, 3, {"*": "not_sent"}, 4, START)),
        FleetCounted(
            "k", Figures(START, 1.0, {"coinbase": BrokerFigures(1, {"active": 1}, 0, 0)}, 0, 0, 0.0, 1, 0, START)
        ),
    ):
        observer.observe(told)
    text = generate_latest(observer.registry).decode()
    assert {one.name for one in ALL_SERIES} == set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    ran = check(tmp_path, "check", "metrics", given=text)
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")
