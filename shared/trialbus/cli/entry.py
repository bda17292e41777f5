"""Where the program `trialbus` begins.

`trialbus serve SERVICE` needs nothing of the command line's libraries: container images of services
are without them. Everything else goes on in `trialbus.cli.main`.
"""

import importlib.util
import signal
import sys
from types import FrameType
from typing import NoReturn

_NEEDED = "typer"


def main() -> NoReturn:
    """The entry point."""
    service = service_of(sys.argv[1:])
    if service is not None:
        sys.exit(serve(service))
    if importlib.util.find_spec(_NEEDED) is None:
        sys.stderr.write("only `trialbus serve` works here: the rest needs 'trialbus[cli]'\n")
        sys.exit(2)
    # Loaded here, because services do without it.
    from trialbus.cli import main as commands  # noqa: PLC0415

    commands.main()


def service_of(arguments: list[str]) -> str | None:
    """The service of a plain `serve SERVICE`; None for all else, help and options included."""
    if len(arguments) == 2 and arguments[0] == "serve" and not arguments[1].startswith("-"):
        return arguments[1]
    return None


def serve(service: str) -> int:
    """The exit code: 0 when it drained, 1 when it failed, 2 when there is no such service."""
    # The first process of a container hears no signal that it has not asked for; until the service
    # listens itself it has nothing to drain.
    signal.signal(signal.SIGTERM, _leave)
    # Loaded here, so that the handler stands while they load.
    from trialbus.local import definitions, hosting  # noqa: PLC0415

    try:
        definitions.load_definition(service)
    except definitions.UnknownService as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return hosting.run_service(service)


def _leave(number: int, _frame: FrameType | None) -> None:
    del number
    raise SystemExit(0)
