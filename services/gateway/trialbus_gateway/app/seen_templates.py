"""Templates that an experiment names: as everything else, of the caller's namespaces only."""

from trialbus.contracts.katib.template_sources import Template, TemplateReference, TemplateSource
from trialbus.kernel.errors import Problem, Refused
from trialbus_gateway.app import reach


class SeenTemplates:
    """A `TemplateSource`."""

    def __init__(self, source: TemplateSource) -> None:
        self._source = source

    def find(self, reference: TemplateReference) -> Template:
        if not reach.current().sees(reference.namespace):
            message = f"there is no namespace {reference.namespace}"
            raise Refused([Problem(field="", message=message)])
        return self._source.find(reference)
