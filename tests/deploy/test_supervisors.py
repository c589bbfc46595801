"""The unit, the container and the manifests of docs/deploy: read by the tools of each, and true of the program."""

import re
import shlex
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path, PurePosixPath
from typing import Any

import kubernetes_validate
import pytest
import yaml

from mesh_refresh import client
from mesh_refresh.cli.fleet.store.migrate import migrate
from mesh_refresh.cli.fleet.worker.health import health
from mesh_refresh.cli.fleet.worker.run import run
from mesh_refresh.cli.fleet.worker.serve import serve
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.service.web.probes import Probes
from mesh_refresh.version import VERSION
from tests.deploy.promtool import DEPLOY
from tests.service.web.conftest import make_probed

pytestmark = pytest.mark.once

ROOT = DEPLOY.parents[1]
GRACE = 120
"""Seconds for a worker's end: a deadline of a minute, and the writes."""
UNIT = DEPLOY / "mesh-refresh.service"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
STATEFUL, *OTHERS = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
JOB = yaml.safe_load((DEPLOY / "kubernetes-migrate.yaml").read_text())
PODS = [manifest["spec"]["template"]["spec"] for manifest in (STATEFUL, JOB)]
SHOWN = [DEPLOY.parent / name for name in ("service.md", "production.md")]


def parse(words: list[str]) -> dict[str, Any]:
    """The options of a command as the command line reads them."""
    name, *options = words
    command = {"run": run, "serve": serve, "health": health, "migrate": migrate}[name]
    # click keeps the help option that it makes first, also for the tests that follow in this process.
    return command.make_context(name, options, help_option_names=["-h", "--help"]).params


def read_unit(text: str) -> dict[str, dict[str, str]]:
    unit = ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(text)
    return {name: dict(section) for name, section in unit.items()}


def variables() -> dict[str, str]:
    lines = (DEPLOY / "worker.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line[:1] not in ("", "#"))


def check(*command: str | Path) -> str:
    """What a tool complains of, and lets pass. A program of a package is beside this Python."""
    beside = Path(sys.executable).with_name(str(command[0]))
    program = beside if beside.exists() else command[0]
    ran = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stderr


def is_inside(path: str, folder: str) -> bool:
    """Whether it is below `folder`, and not that folder itself."""
    return PurePosixPath(folder) in PurePosixPath(path).parents


def test_systemd_reads_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("NOT RUN: there is no systemd-analyze, and nothing read the unit: apt-get install systemd")
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/mesh-refresh/bin/mesh-refresh", sys.executable))
    complaints = check("systemd-analyze", "verify", "--man=no", copy)
    assert copy.name not in complaints, complaints  # of a value that it does not know, it says so and goes on
    check("systemd-analyze", "security", "--offline=true", "--threshold=20", copy)


def test_the_unit_starts_and_ends_a_worker() -> None:
    service = read_unit(UNIT.read_text())["Service"]
    _, *words = shlex.split(service["ExecStart"])
    assert parse(words)["listen"] == parse(["health"])["url"].removeprefix("http://")
    assert service["Type"] == "notify"
    assert int(service["TimeoutStopSec"]) >= GRACE
    assert service["EnvironmentFile"] == "/etc/mesh-refresh/worker.env"
    spool = service["Environment"].removeprefix("MESH_REFRESH_SPOOL=")
    assert is_inside(spool, f"/var/lib/{service['StateDirectory']}")
    assert int(service["SuccessExitStatus"]) == Exit.TERMINATED
    assert [int(code) for code in service["RestartPreventExitStatus"].split()] == [Exit.INVALID, Exit.STORE]


def test_the_units_of_the_pages_start() -> None:
    """Also that of a service: it replaces the command of the unit."""
    shown = [block for page in SHOWN for block in re.findall(r"```ini\n(.*?)```", page.read_text(), re.DOTALL)]
    commands = [shlex.split(line) for block in shown for line in re.findall(r"^ExecStart=(.+)", block, re.MULTILINE)]
    assert commands
    for _, *words in commands:
        parse(words)


def test_the_environment_is_what_the_program_reads() -> None:
    source = "".join(path.read_text() for path in Path(client.__file__).parents[1].rglob("*.py"))
    for name in variables():
        assert name.startswith("PG") or name in source or name.removesuffix("_FILE") in source, name


def test_hadolint_reads_the_dockerfile() -> None:
    check("hadolint", DEPLOY / "Dockerfile")


def test_the_dockerfile_copies_what_the_build_is_given() -> None:
    sources = [name for line in re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.MULTILINE) for name in line.split()]
    given = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert sources
    for name in sources:
        assert (ROOT / name).exists()
        assert f"!{name}" in given


def test_the_image_runs_a_worker_without_root() -> None:
    command = yaml.safe_load(re.findall(r"^CMD (.+)", DOCKERFILE, re.MULTILINE)[0])
    assert parse(command)["listen"] == "0.0.0.0:8321"
    user = re.findall(r"^USER (\d+):", DOCKERFILE, re.MULTILINE)[-1]
    assert f"--uid {user}" in DOCKERFILE
    (folder,) = re.findall(rf"install -d -o {user} .* (/\S+)", DOCKERFILE)
    assert is_inside(re.findall(r"MESH_REFRESH_SPOOL=(\S+)", DOCKERFILE)[0], folder)
    assert {pod["securityContext"]["runAsUser"] for pod in PODS} == {int(user)}


def test_the_schema_of_compose_holds() -> None:
    check("check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")


def test_compose_runs_a_worker() -> None:
    worker = COMPOSE["worker"]
    parse(worker["command"])
    parse(COMPOSE["migrate"]["command"])
    _, program, *words = worker["healthcheck"]["test"]
    assert program == "mesh-refresh"
    port = parse(words)["url"].rpartition(":")[2]
    assert parse(worker["command"])["listen"].endswith(f":{port}")
    assert worker["stop_grace_period"] == f"{GRACE}s"
    mounts = {volume["target"]: volume["type"] for volume in worker["volumes"]}
    spool = re.findall(r"MESH_REFRESH_SPOOL=(\S+)", DOCKERFILE)[0]
    assert [kind for target, kind in mounts.items() if is_inside(spool, target)] == ["volume"]
    for service in COMPOSE.values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        secrets = [volume["target"] for volume in service["volumes"] if volume["type"] == "bind"]
        assert all(is_inside(path, secrets[0]) for name, path in variables().items() if name.endswith("_FILE"))


@pytest.mark.parametrize("manifest", [STATEFUL, *OTHERS, JOB], ids=lambda manifest: str(manifest["kind"]))
def test_the_schemas_of_kubernetes_hold(manifest: dict[str, Any]) -> None:
    named = {**manifest, "metadata": {"name": "named", **manifest["metadata"]}}  # the validator asks each for its name
    kubernetes_validate.validate(named, "1.37", strict=True)


def test_a_worker_keeps_its_spool_through_a_rollout() -> None:
    """Each has a volume of its own, which outlives the pod, and the spool is a folder in it that the worker makes."""
    assert STATEFUL["kind"] == "StatefulSet"
    (claim,) = STATEFUL["spec"]["volumeClaimTemplates"]
    assert set(STATEFUL["spec"]["persistentVolumeClaimRetentionPolicy"].values()) == {"Retain"}
    (worker,) = PODS[0]["containers"]
    (mount,) = [it["mountPath"] for it in worker["volumeMounts"] if it["name"] == claim["metadata"]["name"]]
    (spool,) = [it["value"] for it in worker["env"] if it["name"] == "MESH_REFRESH_SPOOL"]
    assert is_inside(spool, mount)
    assert PODS[0]["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"
    assert PODS[0]["terminationGracePeriodSeconds"] >= GRACE


def test_kubernetes_asks_the_probes() -> None:
    (worker,) = PODS[0]["containers"]
    (port,) = worker["ports"]
    assert parse(worker["args"])["listen"] == f"0.0.0.0:{port['containerPort']}"
    probes = {name: worker[name]["httpGet"] for name in ("livenessProbe", "readinessProbe")}
    paths = {name: probe["path"] for name, probe in probes.items()}
    assert paths == {"livenessProbe": "/livez", "readinessProbe": "/readyz"}
    app = make_probed(Probes())
    assert set(paths.values()) <= {it.resource.canonical for it in app.router.routes() if it.resource is not None}
    assert {probe["port"] for probe in probes.values()} == {port["name"]}


@pytest.mark.parametrize("pod", PODS, ids=["worker", "migrate"])
def test_pods_keep_to_the_restricted_standard(pod: dict[str, Any]) -> None:
    """That of Pod Security Admission, and no more than it: neither root, nor rights, nor a file system to write."""
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod["automountServiceAccountToken"]
    (container,) = pod["containers"]
    parse(container["args"])
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["requests"]["memory"] == container["resources"]["limits"]["memory"]
    (secrets,) = [it["mountPath"] for it in container["volumeMounts"] if it["name"] == "secrets"]
    assert all(is_inside(path, secrets) for name, path in variables().items() if name.endswith("_FILE"))


def test_the_images_are_of_this_version() -> None:
    text = "".join(path.read_text() for path in DEPLOY.iterdir())
    assert set(re.findall(r"mesh-refresh:([\d.]+\d)", text)) == {VERSION}
