"""A process that has imported the command, and forks for each run: a run takes hundredths of a second and not two.

It reads a job a line, as JSON, and answers with the process id, or with the exit code of one that it is asked for.
"""

import errno
import importlib
import json
import os
import signal
import sys
from typing import Any

from mesh_refresh.cli import main
from tests.cli.refresh.hostile.hostile_os import Step, install


def serve() -> None:
    importlib.import_module("mesh_refresh.cli.app")  # `main` imports it at its first run
    for line in sys.stdin:
        job = json.loads(line)
        if "wait" in job:
            _, status = os.waitpid(job["wait"], 0)
            _tell(os.waitstatus_to_exitcode(status))
            continue
        pid = os.fork()
        if pid == 0:
            _run(job)
        _tell(pid)


def _tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _run(job: dict[str, Any]) -> None:
    os.setsid()
    os.chdir(job["folder"])
    os.environ.update(job["environment"])
    for number, (name, flags) in enumerate((job["stdin"], job["stdout"], job["stderr"])):
        os.close(number)
        if name is not None:
            handle = os.open(name, flags, 0o600)
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)
    for number, stream in enumerate((job["stdin"], job["stdout"], job["stderr"])):
        mode = "w" if number else "r"
        standard = None if stream[0] is None else os.fdopen(number, mode, buffering=1 if number else -1)
        setattr(sys, ("stdin", "stdout", "stderr")[number], standard)
    sys.argv = ["mesh-refresh", *job["arguments"]]
    install(lambda step: _meet(step, job))
    code = 70
    try:
        code = main()
        for standard in (sys.stdout, sys.stderr):
            if standard is not None:
                standard.flush()
    except BaseException as error:  # noqa: BLE001 - the process ends in any case, and its parent's loop must not go on
        os.write(2, f"{type(error).__name__}\n".encode())
    finally:
        os._exit(int(code))


def _meet(step: Step, job: dict[str, Any]) -> object:
    if job["steps"] is not None:
        handle = os.open(job["steps"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(handle, f"{step.name}\n".encode())
        os.close(handle)
    begins = step.number == job["at"] or (job["lasts"] and job["at"] is not None and step.number > job["at"])
    if not begins:
        return None
    what = job["what"]
    if what == "short":
        return "short"
    if what.startswith("SIG"):
        os.kill(os.getpid(), signal.Signals[what])
        return None
    number = getattr(errno, what)
    raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    serve()
