"""Services that are restarted in turn under load: `nox -s rolling` does it with workers beside them, and for longer."""

import pytest

from tests.service.rolling import restart_in_turn


@pytest.mark.once
async def test_a_rolling_restart_loses_no_token_and_no_call() -> None:
    answers = await restart_in_turn(logins=20, callers=4, workers=0, rounds=1)
    assert answers["200"]
    assert not [told for told in answers if told.startswith("wrong")]
