"""The rules of the object that a trial becomes: Katib's 33 to 35, and what one machine can run.

Numbers are those of Katib's validation webhook (validator.go).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from trialbus.contracts.katib.job_fields import job_problems
from trialbus.kernel import templates
from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.job_templates import TRIAL_SPEC_FIELD, read_job
from trialbus.kernel.spec import Place, TrialTemplate

Json = Any

_JOB = ("batch/v1", "Job")


def object_problems(template: TrialTemplate, place: Place) -> Iterator[Problem]:
    """One machine runs Jobs; of another kind it says that, and of what is in it nothing."""
    trial_spec = template.trial_spec
    metadata = trial_spec.get("metadata")
    if metadata is not None and not isinstance(metadata, Mapping):
        yield _problem(".metadata", "must be an object (fields with values)")
    elif metadata and (metadata.get("name") or metadata.get("namespace")):  # 33
        yield _problem(
            ".metadata",
            "metadata.name and metadata.namespace in spec.trialTemplate must be omitted",
        )
    for field in _keys_with_placeholders(trial_spec):
        message = f"placeholders are replaced in values, not in names of fields: {field:.60}"
        yield _problem("", message)
    version, kind = trial_spec.get("apiVersion"), trial_spec.get("kind")
    if not version or not kind or not isinstance(version, str) or not isinstance(kind, str):
        yield _problem("", "APIVersion and Kind in spec.trialTemplate must be specified")  # 34
    elif (version, kind) == _JOB:
        yield from _job_problems(template, place)
    elif place is Place.ONE_MACHINE:
        yield _problem(
            "",
            f"{kind:.60} of {version:.60} needs a cluster; on one machine a trial is a Job of "
            "batch/v1",
        )


def _job_problems(template: TrialTemplate, place: Place) -> Iterator[Problem]:
    said = set()
    for suffix, message in job_problems(template.trial_spec):  # 35
        said.add(f"{TRIAL_SPEC_FIELD}{suffix}")
        yield _problem(suffix, message)
    if place is not Place.ONE_MACHINE:
        return
    try:
        read_job(template)
    except Refused as exc:
        yield from (problem for problem in exc.problems if problem.field not in said)


def _keys_with_placeholders(node: Json) -> Iterator[str]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            if templates.placeholders(key):
                yield key
            yield from _keys_with_placeholders(value)
    elif isinstance(node, list):
        for item in node:
            yield from _keys_with_placeholders(item)


def _problem(suffix: str, message: str) -> Problem:
    return Problem(field=f"{TRIAL_SPEC_FIELD}{suffix}", message=message)
