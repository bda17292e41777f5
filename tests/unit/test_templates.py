"""Values reach a trial's command byte for byte and nothing else; what cannot run is refused."""

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trialbus.kernel.errors import Refused
from trialbus.kernel.job_templates import read_job
from trialbus.kernel.limits import MAX_ARGUMENT_BYTES
from trialbus.kernel.spec import TrialParameter, TrialTemplate
from trialbus.kernel.templates import (
    DefaultTemplate,
    TrialIdentity,
    placeholders,
    render_command,
    render_object,
)
from trialbus.kernel.trial import Assignment

TRIAL = TrialIdentity(namespace="ns", experiment="exp", name="exp-bcdfghjk", attempt=2)
PAYLOADS = [
    "; touch canary",
    "$(touch canary)",
    "`touch canary`",
    "' ; touch canary '",
    '"; touch canary; "',
    "\n touch canary",
    "{{ 7*7 }}",
    "${trialParameters.y}",
    "${HOME}",
    "$(TRIALBUS_TRIAL_NAME)",
    "$$",
    "-rf",
    "--opt=x",
    '", "injected": "',
    "\\",
    "\\0",
    "%s%n",
    "é漢\U0001f600",
    " leading and trailing ",
    "",
    "*",
    "~",
    "| tee canary",
    "&& touch canary",
    "\t\r",
    "#",
]


def job(**container: Any) -> dict[str, Any]:
    main = {"name": "main", "image": "any", "command": ["true"], **container}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "spec": {"template": {"spec": {"containers": [main], "restartPolicy": "Never"}}},
    }


def template(trial_spec: dict[str, Any], **references: str) -> TrialTemplate:
    return TrialTemplate(
        trial_spec=trial_spec,
        parameters=tuple(TrialParameter(name=n, reference=r) for n, r in references.items()),
        primary_container="main",
    )


def assigned(**values: str) -> tuple[Assignment, ...]:
    return tuple(Assignment(name=name, value=value) for name, value in values.items())


def problems(trial_spec: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(Refused) as caught:
        read_job(template(trial_spec))
    return {p.field.removeprefix("spec.trialTemplate."): p.message for p in caught.value.problems}


def test_a_job_becomes_its_primary_containers_process() -> None:
    trial_spec = job(
        command=["python3", "train.py", "--lr=${trialParameters.lr}"],
        args=["${trialParameters.lr}${trialParameters.lr}"],
        env=[{"name": "RATE", "value": "<${trialParameters.lr}>"}, {"name": "EMPTY"}],
        workingDir="code",
    )
    trial_spec["spec"]["activeDeadlineSeconds"] = 60
    trial_spec["spec"]["template"]["spec"]["activeDeadlineSeconds"] = 30
    run = render_command(
        template(trial_spec, lr="--lr"),
        TRIAL,
        [Assignment(name="--lr", value="0.1")],
        interpreter="/x/python",
        working_dir="/some/dir/",
    )
    assert run.command == ("/x/python", "train.py", "--lr=0.1", "0.10.1")
    assert run.working_dir == "/some/dir/code"
    assert run.deadline_s == 30.0
    assert run.env == {
        "RATE": "<0.1>",
        "EMPTY": "",
        "TRIALBUS_PARAMETERS": '{"--lr": "0.1"}',
        "TRIALBUS_NAMESPACE": "ns",
        "TRIALBUS_EXPERIMENT": "exp",
        "TRIALBUS_TRIAL_NAME": "exp-bcdfghjk",
        "TRIALBUS_ATTEMPT": "2",
        "KATIB_TRIAL_NAME": "exp-bcdfghjk",
    }
    assert json.loads(run.parameters_json) == {"--lr": "0.1"}


def test_the_default_template_takes_every_parameter_as_a_flag() -> None:
    run = render_command(
        DefaultTemplate(command=("python", "-m", "trainer")),
        TRIAL,
        [Assignment(name="--lr", value="0.1"), Assignment(name="--opt", value="a b")],
        interpreter="/x/python",
        working_dir="/w",
    )
    assert run.command == ("/x/python", "-m", "trainer", "--lr=0.1", "--opt=a b")
    assert (run.working_dir, run.deadline_s) == ("/w", None)


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ("python", "I"),
        ("python3", "I"),
        ("python3.11", "python3.11"),
        ("/bin/python", "/bin/python"),
    ],
)
def test_only_bare_python_is_the_configured_interpreter(first: str, expected: str) -> None:
    run = render_command(template(job(command=[first])), TRIAL, (), interpreter="I")
    assert run.command == (expected,)


@pytest.mark.parametrize(
    ("folder", "base", "expected"),
    [
        (None, None, None),
        (None, "/b", "/b"),
        ("/a", "/b", "/a"),
        ("a", "/b", "/b/a"),
        ("a", None, "a"),
    ],
)
def test_a_relative_working_folder_is_below_the_base(
    folder: str | None, base: str | None, expected: str | None
) -> None:
    trial_spec = job(workingDir=folder)
    run = render_command(template(trial_spec), TRIAL, (), interpreter="I", working_dir=base)
    assert run.working_dir == expected


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_value_reaches_the_process_byte_for_byte(payload: str, tmp_path: Path) -> None:
    script = "import json, os, sys; print(json.dumps([sys.argv[1:], os.environ['X']]))"
    trial_spec = job(
        command=["python", "-c", script, "${trialParameters.x}", "a${trialParameters.x}b"],
        env=[{"name": "X", "value": "${trialParameters.x}"}],
    )
    run = render_command(
        template(trial_spec, x="x", y="y"),
        TRIAL,
        assigned(x=payload, y="WRONG"),
        interpreter=sys.executable,
    )
    assert run.command[3:] == (payload, f"a{payload}b")
    done = subprocess.run(
        run.command, env=dict(run.env), capture_output=True, check=True, cwd=tmp_path
    )
    assert json.loads(done.stdout) == [[payload, f"a{payload}b"], payload]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_value_cannot_change_the_objects_structure(payload: str) -> None:
    trial_spec = job(command=["x", "${trialParameters.x}"])
    rendered = render_object(template(trial_spec, x="x"), TRIAL, assigned(x=payload))
    expected = copy.deepcopy(job(command=["x", payload]))
    expected["metadata"] = {"name": TRIAL.name, "namespace": TRIAL.namespace}
    assert rendered == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"),
        ("$(B)", "12"),
        ("$(TRIALBUS_TRIAL_NAME)", "exp-bcdfghjk"),
        ("$(MISSING)", "$(MISSING)"),
        ("$$(A)", "$(A)"),
        ("$$", "$$"),
        ("$(touch canary)", "$(touch canary)"),
        ("${A}", "${A}"),
        ("${trialParameters.unknown}", "${trialParameters.unknown}"),
        ("${trialParameters.}", "${trialParameters.}"),
    ],
)
def test_variables_are_replaced_as_kubernetes_does(text: str, expected: str) -> None:
    trial_spec = job(
        command=["x", text],
        env=[{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)2"}],
    )
    run = render_command(template(trial_spec), TRIAL, (), interpreter="I")
    assert run.command[1] == expected


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("${trialSpec.Name}", "exp-bcdfghjk"),
        ("${trialSpec.Namespace}", "ns"),
        ("${trialSpec.Kind}", "Job"),
        ("${trialSpec.APIVersion}", "batch/v1"),
        ("${trialSpec.Labels[my.org/key]}", "a label"),
        ("${trialSpec.Annotations[key]}", "an annotation"),
    ],
)
def test_a_trial_parameter_may_refer_to_the_trial_itself(reference: str, expected: str) -> None:
    trial_spec = job(command=["x", "${trialParameters.m}"])
    trial_spec["metadata"] = {
        "labels": {"my.org/key": "a label"},
        "annotations": {"key": "an annotation"},
    }
    run = render_command(template(trial_spec, m=reference), TRIAL, (), interpreter="I")
    assert run.command[1] == expected


def test_a_missing_parameter_is_refused_by_its_reference() -> None:
    with pytest.raises(Refused, match=r"trialParameters\[0\]\.reference: lr has no value"):
        render_command(template(job(), x="lr"), TRIAL, (), interpreter="I")


@pytest.mark.parametrize(
    ("trial_spec", "values"),
    [
        (job(command=["x", "${trialParameters.x}" * 1000]), assigned(x="v" * 1000)),
        (job(command=["x"] + ["${trialParameters.x}"] * 1000), assigned(x="v" * 10_000)),
        (
            job(
                env=[{"name": "A0", "value": "x" * 10}]
                + [{"name": f"A{i}", "value": f"$(A{i - 1})" * 10} for i in range(1, 20)]
            ),
            assigned(x=""),
        ),
        (job(), assigned(x="v" * MAX_ARGUMENT_BYTES)),
    ],
    ids=["one argument", "all arguments", "variables of variables", "parameters"],
)
def test_what_grows_out_of_bounds_is_refused(
    trial_spec: dict[str, Any], values: tuple[Assignment, ...]
) -> None:
    with pytest.raises(Refused, match="longer than"):
        render_command(template(trial_spec, x="x"), TRIAL, values, interpreter="I")


def test_placeholders_are_found_once_each_in_linear_time() -> None:
    assert placeholders(
        {"a": ["${trialParameters.x}", "${trialParameters.y}${trialParameters.x}"]}
    ) == [
        "x",
        "y",
    ]
    assert placeholders("${trialParameters." * 50_000) == []


CONTAINER = "trialSpec.spec.template.spec.containers[0]"


@pytest.mark.parametrize(
    ("container", "where", "words"),
    [
        ({"command": None, "image": ""}, f"{CONTAINER}.command", "must be given"),
        ({"command": [], "image": None}, f"{CONTAINER}.command", "must be given"),
        ({"command": "python x.py"}, f"{CONTAINER}.command", "list"),
        ({"command": ["x", 16]}, f"{CONTAINER}.command[1]", "not 16: write it in quotes"),
        ({"command": [""]}, f"{CONTAINER}.command[0]", "empty"),
        ({"args": ["a", True]}, f"{CONTAINER}.args[1]", "not true"),
        ({"env": [{"name": "A", "value": 1}]}, f"{CONTAINER}.env[0].value", "quotes"),
        ({"env": [{"value": "1"}]}, f"{CONTAINER}.env[0].name", "must be given"),
        ({"env": [{"name": "A=B"}]}, f"{CONTAINER}.env[0].name", "without ="),
        ({"env": {"A": "1"}}, f"{CONTAINER}.env", "list of variables"),
        (
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {}}}]},
            f"{CONTAINER}.env[0].valueFrom",
            "one machine",
        ),
        ({"envFrom": [{}]}, f"{CONTAINER}.envFrom", "one machine"),
        ({"workingDir": 5}, f"{CONTAINER}.workingDir", "text"),
        ({"name": "other"}, "primaryContainerName", "containers: other"),
    ],
)
def test_a_container_that_cannot_run_here_is_refused(
    container: dict[str, Any], where: str, words: str
) -> None:
    assert words in problems(job(**container))[where]


def test_a_job_that_cannot_run_here_is_refused_with_every_problem() -> None:
    trial_spec = job(command=None, image=None)
    trial_spec["spec"] |= {"parallelism": 2, "completions": 3, "activeDeadlineSeconds": 0}
    trial_spec["spec"]["suspend"] = True
    pod = trial_spec["spec"]["template"]["spec"]
    pod["initContainers"] = [{}]
    pod["containers"].append({"name": "side"})
    assert set(problems(trial_spec)) == {
        "trialSpec.spec.parallelism",
        "trialSpec.spec.completions",
        "trialSpec.spec.suspend",
        "trialSpec.spec.activeDeadlineSeconds",
        "trialSpec.spec.template.spec.initContainers",
        "trialSpec.spec.template.spec.containers",
        "trialSpec.spec.template.spec.containers[0].command",
    }


@pytest.mark.parametrize(
    ("trial_spec", "where"),
    [
        ({}, "trialSpec.spec"),
        ({"spec": 5}, "trialSpec.spec"),
        ({"spec": {}}, "trialSpec.spec.template"),
        ({"spec": {"template": {}}}, "trialSpec.spec.template.spec"),
        ({"spec": {"template": {"spec": {}}}}, "trialSpec.spec.template.spec.containers"),
        (
            {"spec": {"template": {"spec": {"containers": [1]}}}},
            "trialSpec.spec.template.spec.containers",
        ),
    ],
)
def test_what_is_no_job_is_refused_at_the_missing_part(
    trial_spec: dict[str, Any], where: str
) -> None:
    assert list(problems(trial_spec)) == [where]
