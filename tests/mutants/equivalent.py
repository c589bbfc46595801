"""Mutants that change nothing that a test could see, and why. Each is named by its module and its change."""

_REASONS: dict[tuple[str, str], str] = {}


def reason_for(module: str, mutant: str) -> str | None:
    """Why no test can find this mutant; None where one could."""
    return _REASONS.get((module, mutant))
