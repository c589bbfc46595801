"""The command ``mesh-refresh``: ``demo``, ``refresh`` and ``sandbox``. It needs the extra ``cli`` (click and rich)."""

import sys

__all__ = ["main"]


def main() -> int:
    """Run the command line, and give the process's exit code."""
    try:
        from mesh_refresh.cli.app import run  # noqa: PLC0415 - so that a missing extra can be told in one line
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("click", "rich"):
            raise
        what = (
            f"mesh-refresh needs {error.name}, of its extra `cli`: install it as you did mesh-refresh, with that extra"
        )
        print(f"{what}; from a checkout: pip install '.[cli]'", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130  # nothing was begun: its modules are still being imported
    return run()
