"""Where the API server is and who we are: kubernetes-asyncio's configuration, from the settings."""

import ssl
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import yaml

from trialbus.adapters.kubernetes_api.opening import ClusterSettings
from trialbus.kernel import limits
from trialbus.kernel.errors import Problem, Refused
from trialbus.ports.clock import Clock

_client: Any = import_module("kubernetes_asyncio.client")
_config: Any = import_module("kubernetes_asyncio.config")

# What reading a kubeconfig, or the certificates that it names, may raise.
_UNREADABLE = (OSError, ValueError, LookupError, TypeError, AssertionError, yaml.YAMLError)


class Credentials(Protocol):
    """configuration: of kubernetes-asyncio, for the pool of connections."""

    configuration: Any

    async def authorization(self) -> str:
        """Of each request; "" where a client certificate says who we are."""

    def expire(self) -> None:
        """The server did not take them: read them again for the next request."""


async def credentials_of(settings: ClusterSettings, clock: Clock) -> Credentials:
    """Raises Refused."""
    if settings.kubeconfig:
        given = KubeconfigCredentials(settings.kubeconfig, clock)
        await given.load()
        return given
    return FolderCredentials(
        settings.kubernetes_api, Path(settings.kubernetes_credentials_dir), clock
    )


def _refused(setting: str, place: str, error: Exception) -> Refused:
    return Refused([Problem(field=setting, message=f"{place}: {error or type(error).__name__}")])


def _new_configuration() -> Any:
    configuration = _client.Configuration()
    # Certificate authorities of many clusters lack extensions that Python 3.13 would insist on.
    configuration.disable_strict_ssl_verification = True
    # Requests are bounded by their pace; watches and logs are not to take connections from them.
    configuration.connection_pool_maxsize = 0
    return configuration


class FolderCredentials:
    """A service account's folder, as each pod has it. The token is replaced there while we run.

    kubernetes-asyncio's loader of the same takes the address from the environment only, and keeps
    the line end of a token that was written by hand.
    """

    def __init__(self, address: str, folder: Path, clock: Clock) -> None:
        self._token_file = folder / "token"
        self._clock = clock
        self._read_at = clock.monotonic()
        self.configuration = _new_configuration()
        self.configuration.host = address.rstrip("/")
        authorities = folder / "ca.crt"
        try:
            self._token = self._read()
            if address.startswith("https:"):
                ssl.create_default_context(cafile=str(authorities))
                self.configuration.ssl_ca_cert = str(authorities)
        except (OSError, ValueError) as error:
            raise _refused("TRIALBUS_KUBERNETES_CREDENTIALS_DIR", str(folder), error) from error

    async def authorization(self) -> str:
        if self._clock.monotonic() >= self._read_at + limits.CLUSTER_CREDENTIALS_S:
            self._read_at = self._clock.monotonic()
            # If it is just being replaced, the one that we have is good for some minutes more.
            with suppress(OSError, ValueError):
                self._token = self._read()
        return f"Bearer {self._token}"

    def expire(self) -> None:
        self._read_at = float("-inf")

    def _read(self) -> str:
        token = self._token_file.read_text(encoding="ascii").strip()
        if not token:
            raise ValueError(f"{self._token_file} is empty")
        return token


class KubeconfigCredentials:
    """What kubectl would use: the current context of the file. `load` before anything else."""

    def __init__(self, path: str, clock: Clock) -> None:
        self._path = Path(path).expanduser()
        self._clock = clock
        self._read_at = 0.0
        self.configuration = _new_configuration()

    async def load(self) -> None:
        """Raises Refused."""
        try:
            # kubernetes-asyncio only warns of a file that is not there.
            self._path.read_bytes()
            await self._read(self.configuration)
        except (*_UNREADABLE, _config.ConfigException) as error:
            raise _refused("TRIALBUS_KUBECONFIG", str(self._path), error) from error

    async def authorization(self) -> str:
        if self._clock.monotonic() >= self._read_at + limits.CLUSTER_CREDENTIALS_S:
            fresh = _new_configuration()
            # If it is being rewritten, or its plugin fails, what we have may still be good; if it
            # is not, the server says so.
            with suppress(*_UNREADABLE, _config.ConfigException):
                await self._read(fresh)
                self.configuration.api_key = fresh.api_key
        return str(self.configuration.api_key.get("BearerToken", ""))

    def expire(self) -> None:
        self._read_at = float("-inf")

    async def _read(self, configuration: Any) -> None:
        # Before the plugin runs, so that other requests do not run it as well.
        self._read_at = self._clock.monotonic()
        await _config.load_kube_config(
            config_file=str(self._path), client_configuration=configuration, persist_config=False
        )
