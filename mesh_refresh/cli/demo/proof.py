"""What a run has proved, by the fake Mesh's own books and not by what the keeper says of itself."""

from attrs import define

from mesh_refresh.cli.demo.play import Play, requests


@define
class Finding:
    """One finding."""

    what: str
    count: int
    remark: str
    good: bool = True


@define
class Proof:
    """All of them."""

    lines: list[Finding]

    @property
    def holds(self) -> bool:
        """Whether all is as it should be."""
        return all(line.good for line in self.lines)


def prove(play: Play) -> Proof:
    """Compare what the store holds with the ledger."""
    fake, fleet = play.fake, play.fleet
    lost, refreshes = fake.lost(play.held), play.board.refreshes
    cut = sum(request.fault == "cut" for request in fake.requests)
    crashed = play.kills == 1 and play.orphaned > 0
    throttled = sum(request.status == 429 for request in fake.requests)
    twice = len(fake.sent_twice())
    return Proof(
        [
            Finding("refreshes done", refreshes, f"by {len(fake.requests)} requests, for {fleet.accounts} accounts"),
            Finding("MFA codes typed", play.codes, "and exchanged by another process", play.codes == 1),
            Finding("requests throttled", throttled, "their brokers wait, and no login is blamed", play.opened > 0),
            Finding("connections cut", cut, "settled, then asked once more", cut == 1),
            Finding("logged in again", play.reconnected, "after two refusals", play.reconnected == 1),
            Finding("callers served", play.board.served, f"of {play.asked} who asked", play.board.served == play.asked),
            Finding("workers killed", play.kills, f"with {requests(play.orphaned)} out", crashed),
            Finding("fresh at the end", play.fresh, f"of {fleet.accounts} accounts", play.fresh == fleet.accounts),
            Finding("sent twice at once", twice, "two processes, one file", not twice),
            Finding("spent tokens sent again", len(fake.reuses), "makes brokers revoke a login", not fake.reuses),
            Finding("tokens lost", len(lost), f"{len(fake.ledger.tokens)} were issued", not lost),
        ]
    )
