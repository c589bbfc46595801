"""Asks promtool, of Debian's package prometheus, which alerts of docs/deploy/alerts.yml fire on given series."""

import shutil
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "docs" / "deploy"
RULES = DEPLOY / "alerts.yml"
MISSING = "promtool is not installed, and the tests of alerts did NOT run: apt-get install prometheus"
EVERY = 15
"""Seconds between two scrapes."""

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason=MISSING)

Planted = Mapping[str, str]
"""Values by series, in promtool's notation."""


def alerts() -> dict[str, dict[str, Any]]:
    """Every alert, by its name."""
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def check(folder: Path, *command: str | Path, given: str = "") -> subprocess.CompletedProcess[str]:
    """What promtool says, with `given` on its standard input."""
    return subprocess.run(["promtool", *command], input=given, capture_output=True, text=True, check=False, cwd=folder)


def assert_firing(folder: Path, planted: Planted, firing: Mapping[str, Collection[Mapping[str, str]]], at: int) -> None:
    """At minute `at`, these alerts fire with these labels, and no others do."""
    tests = [
        {"eval_time": f"{at}m", "alertname": name, "exp_alerts": [_expected(rule, it) for it in firing.get(name, ())]}
        for name, rule in alerts().items()
    ]
    series = [{"series": name, "values": values} for name, values in planted.items()]
    test = {"interval": f"{EVERY}s", "input_series": series, "alert_rule_test": tests}
    file = folder / "alerts.test.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "15s", "tests": [test]}))
    ran = check(folder, "test", "rules", file)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def _expected(rule: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    return {"exp_labels": {**rule["labels"], **labels}, "exp_annotations": rule["annotations"]}
