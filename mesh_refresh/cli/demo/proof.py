"""Proves what a run has shown, from the ledger of the fake Mesh and the store, not from what the keeper says."""

from attrs import define

from mesh_refresh.cli.demo.play import Play
from mesh_refresh.cli.terminal.messages import format_count


@define
class Finding:
    """A line of the proof."""

    what: str
    count: int
    remark: str
    good: bool = True


@define
class Proof:
    """All findings of a run."""

    lines: list[Finding]

    @property
    def holds(self) -> bool:
        """Whether every finding is as it must be."""
        return all(line.good for line in self.lines)

    @property
    def verdict(self) -> str:
        """The proof in one sentence."""
        if self.holds:
            return "Proved: no token was lost, and no spent token was sent again."
        wrong = ", ".join(line.what for line in self.lines if not line.good)
        return f"Not proved. Please report these lines: {wrong}."


def prove(play: Play) -> Proof:
    """Compare the tokens in the store with the ledger of the fake Mesh, and the story with its requests."""
    fake, fleet, board = play.fake, play.fleet, play.board
    lost = fake.lost(play.held)
    cut = sum(request.fault == "cut" for request in fake.requests)
    crashed = play.kills == 1 and play.orphaned > 0
    throttled = sum(request.status == 429 for request in fake.requests)
    opened_once = 0 < len(play.opened) == len(set(play.opened))
    twice = len(fake.sent_twice())
    return Proof(
        [
            Finding("refreshes", board.refreshes, f"by {len(fake.requests)} requests, for {fleet.accounts} accounts"),
            Finding("MFA codes typed", play.codes, "submitted by another process", play.codes == 1),
            Finding("requests throttled", throttled, "the brokers wait; no login counts a failure", opened_once),
            Finding("connections cut", cut, "outcome unknown, then sent once more", cut == 1),
            Finding("logged in again", play.reconnected, "after two refusals", play.reconnected == 1),
            Finding("callers served", board.served, f"of {play.asked} that asked", board.served == play.asked),
            Finding("workers killed", play.kills, f"with {format_count(play.orphaned, 'request')} under way", crashed),
            Finding("fresh at the end", play.fresh, f"of {fleet.accounts} accounts", play.fresh == fleet.accounts),
            Finding("sent twice at once", twice, "by two processes with one file", not twice),
            Finding("spent tokens sent again", len(fake.reuses), "a broker may revoke a login for it", not fake.reuses),
            Finding("tokens lost", len(lost), f"of {len(fake.ledger.tokens)} that were issued", not lost),
        ]
    )
