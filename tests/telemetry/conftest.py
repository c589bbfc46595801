"""A stage for keepers that are observed."""

from tests.keeper.conftest import short_patience, stage

__all__ = ["short_patience", "stage"]
