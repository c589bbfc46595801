"""What the demo does: what an application does with its accounts, told row by row."""

import asyncio
from typing import Any

from attrs import define, field

from mesh_refresh import MeshClient, MfaRequired, OutcomeUnknown, Refreshed, Tokens, TokensRefused
from mesh_refresh.cli.demo.fleet import Fleet
from mesh_refresh.cli.demo.rows import Mood, Row
from mesh_refresh.testing import FakeMesh


@define(eq=False)
class Play:
    """Runs the fleet through one client, with a dictionary for a database."""

    fake: FakeMesh
    fleet: Fleet
    pace: float
    """Seconds of the pauses that are there for the eye; 0 for none."""
    database: dict[object, Tokens] = field(factory=dict, repr=False)
    _written: asyncio.Event = field(factory=asyncio.Event)

    async def save(self, outcome: Any) -> None:
        """The client's `on_outcome`: everything that a reply renewed goes to the database before anybody is told."""
        for tokens in outcome.all_tokens:
            self.database[_key(tokens, outcome.before.ref)] = tokens
        if outcome.before.ref == self.fleet.cancelled.tokens.ref:
            self._written.set()

    async def run(self, mesh: MeshClient) -> None:
        """Refresh all of them at the same time."""
        self.database.update((_key(row.tokens, row.tokens.ref), row.tokens) for row in self.fleet.rows)
        async with asyncio.TaskGroup() as group:
            for number, row in enumerate(self.fleet.rows):
                group.create_task(self._one(mesh, row, number))

    async def _one(self, mesh: MeshClient, row: Row, number: int) -> None:
        if not row.shares:
            await asyncio.sleep(self.pace * min(number, 25) * 0.25)
        if row is self.fleet.cancelled:
            await self._cancelled(mesh, row)
        else:
            await self._refresh(mesh, row)

    async def _refresh(self, mesh: MeshClient, row: Row) -> None:
        row.say("sent, waits for the reply")
        try:
            outcome = await mesh.refresh(row.tokens)
            while isinstance(outcome, MfaRequired):
                outcome = await mesh.submit_mfa(outcome, code=await self._typed(row))
        except TokensRefused:
            row.end("refused: the person must log in again", Mood.BAD)
        except OutcomeUnknown:
            await self._ask_once_more(mesh, row)
        else:
            row.end(_told(row, outcome))

    async def _typed(self, row: Row) -> str:
        """The person reads the code on a phone, and types it."""
        code = row.login.code
        row.say("the broker asks for a code", Mood.WARNING)
        await asyncio.sleep(self.pace * 2)
        for typed in range(1, len(code) + 1):
            row.say(f"the person types it: {'*' * typed}", Mood.WARNING)
            await asyncio.sleep(self.pace * 0.4)
        row.say("code sent, waits for the reply")
        return code

    async def _ask_once_more(self, mesh: MeshClient, row: Row) -> None:
        """No answer: the client does not send again by itself, because the token may be spent. The application may."""
        row.asked_again = True
        row.say("no answer: settles, then asks once more", Mood.WARNING)
        await asyncio.sleep(self.pace * 3)
        row.say("sent once more")
        await mesh.refresh(row.tokens)
        row.end("refreshed: the token was not spent")

    async def _cancelled(self, mesh: MeshClient, row: Row) -> None:
        """The caller goes away when the broker has rotated already and the reply is still under way."""
        row.say("sent, waits for the reply")
        caller = asyncio.create_task(mesh.refresh(row.tokens))
        await self.fleet.gate.entered.wait()
        await asyncio.sleep(self.pace * 2)
        caller.cancel()
        await asyncio.wait((caller,))
        row.say("caller cancelled, the reply is on its way", Mood.WARNING)
        await asyncio.sleep(self.pace * 4)
        self.fleet.gate.release()
        await self._written.wait()
        row.saved_late = caller.cancelled()
        row.end("saved by on_outcome, without its caller")


def _key(tokens: Tokens, ref: object) -> object:
    """Under what a row stands in the database; a reply names the accounts of a login that has several."""
    return (tokens.broker, tokens.account_id or ref)


def _told(row: Row, outcome: Refreshed) -> str:
    if len(outcome.all_tokens) > 1:
        return "refreshed, by the same request" if row.shares else "refreshed, with its siblings"
    return "refreshed"
