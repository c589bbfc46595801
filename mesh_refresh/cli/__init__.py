"""The command ``mesh-refresh``. It needs the extra ``cli`` (click and rich)."""

import sys

__all__ = ["main"]


def main() -> int:
    """Run the command line. Returns the exit code of the process."""
    try:
        from mesh_refresh.cli.app import run  # noqa: PLC0415 - so that a missing extra can be told in one line
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("click", "rich"):
            raise
        what = f"mesh-refresh needs {error.name}, which its extra `cli` installs. Install mesh-refresh with that extra"
        print(f"{what}; in a checkout: pip install '.[cli]'", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130  # nothing has started: the modules are still being imported
    return run()
