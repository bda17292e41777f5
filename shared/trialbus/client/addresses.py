"""Which stack is meant: what is said, else the environment, else the one that runs here."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trialbus.client.failures import Unavailable
from trialbus.contracts.http_paths import ADDRESSES_FILE

URL_VARIABLE = "TRIALBUS_URL"
TOKEN_VARIABLE = "TRIALBUS_TOKEN"
DATA_DIR_VARIABLE = "TRIALBUS_DATA_DIR"
DEFAULT_DATA_DIR = Path(".trialbus")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """url: http(s)://... or nats://..."""

    url: str
    token: str | None = field(default=None, repr=False)

    @property
    def is_nats(self) -> bool:
        return self.url.partition("://")[0] in ("nats", "tls")


def find_address(
    url: str | None = None,
    *,
    token: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Address:
    """url and data_dir as they were said, None if they were not. Raises Unavailable when nothing
    tells where a stack is, with the command that starts one."""
    token = token or environ.get(TOKEN_VARIABLE) or None
    if url is None and data_dir is None:
        url = environ.get(URL_VARIABLE) or None
    if url is not None:
        return Address(url=url, token=token)
    folder = Path(data_dir or environ.get(DATA_DIR_VARIABLE) or DEFAULT_DATA_DIR)
    found = gateway_of(folder)
    if found is None:
        raise Unavailable(
            f"no stack has ever run on {folder.absolute()}: start one with `trialbus up`, "
            f"or say where it is (url=, or {URL_VARIABLE})"
        )
    return Address(url=found, token=token)


def gateway_of(folder: Path) -> str | None:
    """What the gateway of a data folder has written down; it may have ended since."""
    try:
        said = json.loads((folder / ADDRESSES_FILE).read_text(encoding="utf-8"))
        return str(said["http"])
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None
