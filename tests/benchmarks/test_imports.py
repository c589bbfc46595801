"""What `import mesh_refresh` brings along."""

from tests.benchmarks.imports import unwanted


def test_no_extra_is_imported() -> None:
    """Importing the client imports no extra, no command line, no testing kit and no database."""
    assert unwanted() == []
