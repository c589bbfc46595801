"""What waits in a spool for one login, or was set aside there: new tokens of it that are not in the store."""

from pathlib import Path

from attrs import define, field

from mesh_refresh import InvalidRequest
from mesh_refresh.cli.terminal.messages import Failure, system_reason
from mesh_refresh.keeper.runtime.spool import files, unsealed
from mesh_refresh.stores import Sealing, WrongKey


@define
class SpoolContent:
    """The files of a folder."""

    of_login: list[Path] = field(factory=list)
    unopened: int = 0
    """Files that do not open with the keys at hand, or cannot be read: they may be of any login."""

    @classmethod
    def found(cls, folder: Path, cipher: Sealing, login_id: str) -> "SpoolContent":
        """Those of `login_id`, and how many may be. Raises `Failure`."""
        spooled = cls()
        for path in sorted(files(folder)):
            try:
                attempt, _ = unsealed(cipher, path.read_bytes())
            except FileNotFoundError:
                continue  # a worker has written it into the store meanwhile
            except (WrongKey, InvalidRequest):
                spooled.unopened += 1
                continue
            except OSError as error:
                raise Failure(f"The spool cannot be read: {system_reason(error)}.") from None
            if attempt.login_id == login_id:
                spooled.of_login.append(path)
        return spooled

    def forget(self) -> None:
        """They are gone from the disk. Raises `Failure`."""
        for path in self.of_login:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise Failure(f"A file of the spool cannot be removed: {system_reason(error)}.") from None
