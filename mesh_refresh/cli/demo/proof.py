"""What a run has proved, by the fake Mesh's own books and not by what the client says of itself."""

from attrs import define

from mesh_refresh.cli.demo.play import Play
from mesh_refresh.cli.demo.rows import Mood


@define
class Line:
    """One finding."""

    what: str
    count: int
    remark: str
    good: bool = True


@define
class Proof:
    """All of them."""

    lines: list[Line]

    @property
    def holds(self) -> bool:
        """Whether all is as it should be."""
        return all(line.good for line in self.lines)


def prove(play: Play) -> Proof:
    """Compare the demo's database with the ledger."""
    fake, rows = play.fake, play.fleet.rows
    lost = fake.lost(play.database.values())
    refreshed = sum(row.mood is Mood.GOOD for row in rows)
    refused = [row for row in rows if row.mood is Mood.BAD]
    expected = [row for row in rows if row.login.refused]
    said_wait = [request for request in fake.requests if request.status in (429, 503)]
    again = sum(row.asked_again for row in rows)
    late = sum(row.saved_late for row in rows)
    strangers = len(rows) - refreshed - len(refused)
    return Proof(
        [
            Line("accounts refreshed", refreshed, f"of {len(rows)}, by {len(fake.requests)} requests", strangers == 0),
            Line("MFA codes asked for", sum(login.codes_asked for login in fake.logins.values()), "and typed"),
            Line("refused", len(refused), "needs reconnect: revoked by its owner", refused == expected),
            Line("told to wait", len(said_wait), "and sent again by the client when Retry-After was over"),
            Line("cut off", again, "not sent again blindly: the application settled and asked once more", again > 0),
            Line("callers cancelled", late, "and the new tokens saved all the same", late > 0),
            Line("spent tokens sent again", len(fake.reuses), "what makes brokers revoke a login", not fake.reuses),
            Line("tokens lost", len(lost), f"{len(fake.ledger.tokens)} were issued", not lost),
        ]
    )
