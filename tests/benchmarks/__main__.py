"""Prints the project's numbers: ``python -m tests.benchmarks [--quick] [--write] [section ...]``."""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mesh_refresh.stores import Cipher
from tests.benchmarks import (
    blocking,
    client,
    growth,
    keeper,
    machine,
    moving,
    page,
    postgres_rows,
    processes,
    rivals,
    service,
    telemetry,
)
from tests.benchmarks.cores import cores, pin
from tests.benchmarks.report import How, Report, target_table

SECTIONS: dict[str, Callable[[How], Report]] = {
    "client": client.section,
    "growth": growth.section,
    "keeper": keeper.section,
    "moving": moving.section,
    "postgres": postgres_rows.section,
    "processes": processes.section,
    "service": service.section,
    "sync": blocking.section,
    "telemetry": telemetry.section,
}
"""In this order. A further one needs a line here, and marks in docs/benchmarks.md for its tables to go between."""


def main() -> None:
    """Run the sections and print what they found; the targets of all of them come last."""
    options = _options()
    head = list(machine.lines())
    print(*head, sep="\n", flush=True)
    ours = cores()
    reports: dict[str, Report] = {}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory(dir=Path.cwd()) as disk:
        generated = Path(folder)
        rivals.generate_on_httpx(generated)
        rivals.generate_on_aiohttp(generated)
        how = How(
            quick=options.quick,
            client_core=ours[0],
            server_core=ours[-1],
            generated=generated,
            disk=Path(disk),
            key=Cipher.generate_key(),
        )
        for name in [name for name in SECTIONS if name in options.section or not options.section]:
            begun = time.monotonic()
            reports[name] = SECTIONS[name](how)
            pin(*ours)
            for table in reports[name].tables:
                print("", *table.lines(), sep="\n")
            print(f"\n({name}: {time.monotonic() - begun:.0f} s)", flush=True)
    targets = target_table([target for report in reports.values() for target in report.targets])
    print("", *targets.lines(), sep="\n")
    if options.write:
        page.write(head, reports, targets, quick=options.quick)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="nox -s bench --", description="Prints the project's numbers.")
    parser.add_argument("--quick", action="store_true", help="a first look, within two minutes: the same rows")
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md, with its plots drawn anew")
    parser.add_argument("section", nargs="*", choices=[*SECTIONS, []], help="only these; all of them if none is named")
    return parser.parse_args()


if __name__ == "__main__":
    main()
