"""The files of a spool that belong to one login: new tokens that are not in the store."""

from pathlib import Path

from attrs import define, field

from mesh_refresh import InvalidRequest
from mesh_refresh.cli.terminal.messages import Failure, format_path, system_reason
from mesh_refresh.keeper.runtime.spool import files, unsealed
from mesh_refresh.stores import Sealing, WrongKey


@define
class SpoolContent:
    """What a spool has of one login."""

    of_login: list[Path] = field(factory=list)
    unopened: int = 0
    """Files that do not open with these keys: they may belong to any login."""

    @classmethod
    def find(cls, folder: Path, cipher: Sealing, login_id: str) -> "SpoolContent":
        """What the spool in `folder` has of `login_id`. Raises `Failure` if a file cannot be read."""
        spooled = cls()
        for path in sorted(files(folder)):
            try:
                attempt, _ = unsealed(cipher, path.read_bytes())
            except FileNotFoundError:
                continue  # a worker has written its tokens into the store meanwhile
            except (WrongKey, InvalidRequest):
                spooled.unopened += 1
                continue
            except OSError as error:
                why = f"The spool file {format_path(path)} cannot be read: {system_reason(error)}. Nothing was removed."
                raise Failure(why) from None
            if attempt.login_id == login_id:
                spooled.of_login.append(path)
        return spooled

    def forget(self) -> None:
        """Remove the files of the login. Raises `Failure` if one cannot be removed."""
        for path in self.of_login:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                why = f"The spool file {format_path(path)} cannot be removed: {system_reason(error)}."
                raise Failure(f"{why} It still has tokens of the login: remove it by hand.") from None
