"""The snippets for Kubernetes, Docker and systemd name options, paths and times that the worker has."""

import re
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from mesh_refresh.cli.fleet.worker.health import health
from mesh_refresh.cli.fleet.worker.run import run
from mesh_refresh.service.web.probes import Probes
from tests.service.web.conftest import make_probed

pytestmark = pytest.mark.once

PAGE = (Path(__file__).parents[2] / "docs" / "probes.md").read_text()
GRACE = 120
"""Seconds for a worker's end: a deadline of a minute, and the writes."""


def block(language: str, number: int = 0) -> str:
    return str(re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)[number])


def check_command(words: list[str]) -> dict[str, Any]:
    """The options of a command as the command line reads them."""
    name, *options = words
    # click keeps the help option that it makes first, also for the tests that follow in this process.
    return {"run": run, "health": health}[name].make_context(name, options, help_option_names=["-h", "--help"]).params


def routes() -> set[str]:
    app = make_probed(Probes())
    return {route.resource.canonical for route in app.router.routes() if route.resource is not None}


def test_kubernetes() -> None:
    pod = yaml.safe_load(block("yaml"))["spec"]["template"]["spec"]
    (worker,) = pod["containers"]
    assert pod["terminationGracePeriodSeconds"] >= GRACE
    (port,) = worker["ports"]
    assert check_command(worker["args"])["listen"] == f"0.0.0.0:{port['containerPort']}"
    probes = {name: worker[name]["httpGet"] for name in ("livenessProbe", "readinessProbe")}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "livenessProbe": "/livez",
        "readinessProbe": "/readyz",
    }
    assert {probe["path"] for probe in probes.values()} <= routes()
    assert {probe["port"] for probe in probes.values()} == {port["name"]}


def test_docker() -> None:
    worker = yaml.safe_load(block("yaml", 1))["services"]["worker"]
    _, program, *words = worker["healthcheck"]["test"]
    assert program == "mesh-refresh"
    assert check_command(words)["url"] == f"http://{check_command(worker['command'])['listen']}"
    assert worker["stop_grace_period"] == f"{GRACE}s"


def test_systemd() -> None:
    unit = ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(block("ini"))
    service = unit["Service"]
    _, *words = service["ExecStart"].split()
    assert check_command(words)["listen"].startswith(f"unix:/run/{service['RuntimeDirectory']}/")
    assert service["Type"] == "notify"
    assert int(service["TimeoutStopSec"]) >= GRACE
