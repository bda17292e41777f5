"""The services that are installed, found through the entry-point group `trialbus.services`."""

from importlib.metadata import EntryPoint, entry_points

from trialbus.runtime.parts import ServiceDefinition

GROUP = "trialbus.services"


class UnknownService(LookupError):
    """No such service is installed. The text names those that are."""


def service_names() -> list[str]:
    """All that are installed, in alphabetical order."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def load_definition(name: str) -> ServiceDefinition:
    """Import one service. Raises UnknownService."""
    definition = _find(name).load()
    if not isinstance(definition, ServiceDefinition):
        raise UnknownService(f"the entry point {name!r} of {GROUP} is no service definition")
    return definition


def _find(name: str) -> EntryPoint:
    for entry in entry_points(group=GROUP, name=name):
        return entry
    known = ", ".join(service_names()) or "none"
    raise UnknownService(f"no service {name!r} is installed (installed: {known})")
