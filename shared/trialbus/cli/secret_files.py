"""A token that lies in a file, as containers and schedulers hand secrets over."""

from collections.abc import Mapping
from pathlib import Path

from trialbus.cli.failures import REFUSED, CommandFailed

VARIABLE = "TRIALBUS_TOKEN_FILE"


def token_of(environ: Mapping[str, str]) -> str | None:
    """What the file that TRIALBUS_TOKEN_FILE names says; None where it names none. Raises
    CommandFailed."""
    path = environ.get(VARIABLE)
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"{VARIABLE} {path}: {error}", REFUSED) from error
