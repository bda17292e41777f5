"""Asking the launcher of a cluster whether it can run an experiment's trials, before it is taken.

Subject `trialbus.v1.check.<namespace>.<experiment>`. No answer is no objection.
"""

from pydantic import TypeAdapter

from trialbus.contracts.envelope import Body
from trialbus.kernel.errors import Problem
from trialbus.kernel.spec import ExperimentSpec

_SPEC: TypeAdapter[ExperimentSpec] = TypeAdapter(ExperimentSpec)


class TemplateCheck(Body):
    """spec: the parsed one, as JSON."""

    namespace: str
    name: str
    spec: str

    @classmethod
    def of(cls, namespace: str, name: str, spec: ExperimentSpec) -> "TemplateCheck":
        return cls(namespace=namespace, name=name, spec=_SPEC.dump_json(spec).decode())

    def parsed(self) -> ExperimentSpec:
        """Raises pydantic.ValidationError."""
        return _SPEC.validate_json(self.spec)


class FoundProblem(Body):
    field: str
    message: str


class TemplateCheckReply(Body):
    """problems: none: trials can run, as far as can be told."""

    problems: tuple[FoundProblem, ...] = ()

    def refusals(self) -> tuple[Problem, ...]:
        return tuple(Problem(field=it.field, message=it.message) for it in self.problems)
