"""The identities of a stack's bus: made with it, and used for what only the provisioner may do.

This loads nothing of what it needs until a stack asks for it: most have no identities.
"""

# ruff: noqa: PLC0415 - see above

from pathlib import Path
from typing import Self

from trialbus.kernel.errors import NotPermitted, Refused, Transient
from trialbus.local.failures import StackFailed
from trialbus.local.servers import ServerFailed

FOLDER = "nats-auth"
# Streams and durables are made at once; a slow disk takes a while for each.
PROVISION_DEADLINE_S = 30.0


class BusGuard:
    """folder: with the seeds of the identities."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of(cls, data: Path, *, secure: bool) -> Self | None:
        """None: the stack of this data folder has no identities."""
        folder = data / FOLDER
        return cls(folder) if secure or folder.exists() else None

    def make(self) -> Path:
        """The file with the accounts. Raises StackFailed."""
        from trialbus.local import nats_accounts

        try:
            nats_accounts.make(self.folder, wanted=nats_accounts.first_guests(self.folder))
        except Refused as refused:
            raise StackFailed(f"{self.folder}: {refused}") from refused
        return self.folder / nats_accounts.ACCOUNTS

    def seed_of(self, name: str) -> str:
        return str(self.folder / f"{name}.seed")

    async def provision(self, url: str) -> None:
        """Raises ServerFailed."""
        from trialbus.contracts.nats_identities import PROVISIONER
        from trialbus.local.provisioning import provision
        from trialbus.runtime.settings import Settings

        # Whatever the environment says of another server.
        own = {"nats_url": url, "nats_seed_file": self.seed_of(PROVISIONER)}
        settings = Settings.model_validate({**own, "nats_tls_ca": "", "nats_tls_cert": ""})
        try:
            await provision(settings, within_s=PROVISION_DEADLINE_S)
        except (Transient, NotPermitted) as error:
            raise ServerFailed(f"nats-server: streams were not made: {error}") from error
