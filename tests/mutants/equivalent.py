"""Mutants that change nothing that a test could see, and why. Each is named by its module and its change."""

_BREAKERS = "mesh_refresh/keeper/limits/breakers.py"

_REASONS: dict[tuple[str, str], str] = {
    (_BREAKERS, "Breakers.unknown: len(run) < enough -> len(run) <= enough"): (
        "A run that is long enough already may hold one login more."
    ),
}


def reason_for(module: str, mutant: str) -> str | None:
    """Why no test can find this mutant; None where one could."""
    return _REASONS.get((module, mutant))
