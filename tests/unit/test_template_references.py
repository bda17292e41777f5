"""Which template an Experiment only names, whatever shape it has."""

import pytest

from trialbus.contracts.katib.template_sources import TemplateReference, reference_in

NAMED = {"configMapName": "jobs", "configMapNamespace": "lab", "templatePath": "job.yaml"}


def experiment(template: object) -> dict[str, object]:
    return {"spec": {"trialTemplate": template}}


def test_a_named_template_is_found() -> None:
    wanted = TemplateReference(name="jobs", namespace="lab", path="job.yaml")
    assert reference_in(experiment({"configMap": NAMED})) == wanted


@pytest.mark.parametrize(
    "obj",
    [
        {},
        {"spec": None},
        {"spec": []},
        experiment(None),
        experiment("jobs"),
        experiment({}),
        experiment({"configMap": []}),
        experiment({"configMap": {**NAMED, "configMapName": 7}}),
        experiment({"configMap": {**NAMED, "configMapName": "../jobs"}}),
        experiment({"configMap": {**NAMED, "templatePath": ".."}}),
        experiment({"configMap": {**NAMED, "configMapNamespace": ""}}),
        # Written in place: nothing is to be looked up, and the rules say that both is wrong.
        experiment({"configMap": NAMED, "trialSpec": {}}),
    ],
)
def test_what_names_none_or_what_can_be_none_is_left_to_the_rules(obj: dict[str, object]) -> None:
    assert reference_in(obj) is None
