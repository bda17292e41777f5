"""The secret that trials' tokens are made and checked with."""

import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from trialbus.contracts.trial_tokens import NoKey, read_keys
from trialbus.runtime.settings import Settings

_KEY_BYTES = 32


class TrialKeysMissing(Exception):
    """The file that the settings name, or our own, cannot be read or written."""


def trial_keys(settings: Settings) -> Sequence[bytes]:
    """Without a file in the settings one is made in the data folder, by whoever comes first: enough
    on one machine. Raises TrialKeysMissing."""
    given = settings.trial_key_file
    path = Path(given) if given else settings.data_dir / "run" / "trial.key"
    try:
        if not given and not path.exists():
            _make(path)
        return read_keys(path.read_bytes())
    except (OSError, NoKey) as error:
        raise TrialKeysMissing(f"the key of trials' tokens, {path}: {error}") from error


def _make(path: Path) -> None:
    """Whole, or not there; for its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(secrets.token_hex(_KEY_BYTES) + "\n")
    try:
        with suppress(FileExistsError):  # another was faster
            os.link(new, path)
    finally:
        new.unlink()
