"""A file that is no good experiment is refused at once, with every problem, and starts nothing."""

import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trialbus.testkit.real_stack import RealStack, experiment_object

# Of the processor. A refusal takes half a second of it, on a busy machine a whole one; aliases that
# are let grow take minutes. The clock is for what only waits, and has the slack of a busy machine.
DEADLINE_S = 5.0
BUSY_DEADLINE_S = 60.0

Object = dict[str, Any]


def good() -> Object:
    return experiment_object("good", ["/bin/echo", "loss={x}"])


def broken_in_many_places() -> str:
    found = good()
    spec = found["spec"]
    found["metadata"]["name"] = "Not-A-Name"
    spec["objective"] = {"type": "maxi", "objectiveMetricName": ""}
    spec["algorithm"]["algorithmName"] = "magic"
    spec["parallelTrialCount"] = 0
    spec["maxTrialCount"] = -1
    spec["parameters"][0]["feasibleSpace"] = {"min": "2", "max": "1"}
    spec["trialTemplate"]["trialParameters"][0]["reference"] = "y"
    return json.dumps(found)


def with_unknown_fields() -> str:
    found = good()
    found["extra"] = 1
    found["spec"]["paralelTrialCount"] = 2
    found["spec"]["objective"]["goall"] = 0.1
    found["spec"]["parameters"][0]["feasibleSpace"]["maximum"] = "3"
    return json.dumps(found)


def of_kind_trial() -> str:
    return json.dumps(good() | {"kind": "Trial"})


def growing_by_aliases() -> str:
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    for number in range(1, 12):
        lines.append(f"l{number}: &l{number} [{', '.join([f'*l{number - 1}'] * 10)}]")
    return "\n".join(lines)


CASES: list[tuple[str, str | Callable[[], str], tuple[str, ...]]] = [
    ("not YAML", "spec: [1, 2\nkind: }", ("line 2",)),
    (
        "tags",
        "kind: !!python/object/apply:os.system [id]\nspec: !mine 3",
        ("line 1, column 7: the tag", "line 2, column 7: the tag '!mine'"),
    ),
    ("aliases", growing_by_aliases, ("line 4, column 45: more than 10000 values",)),
    ("depth", "[" * 5000, ("100 levels",)),
    ("no text", "\0\1\2", ("line 1, column 1: a NUL character",)),
    ("nothing", "", ("empty",)),
    ("kind", of_kind_trial, ("kind: ",)),
    (
        "unknown fields",
        with_unknown_fields,
        (
            "  extra: ",
            "  spec.paralelTrialCount: ",
            "  spec.objective.goall: ",
            "  spec.parameters[0].feasibleSpace.maximum: ",
        ),
    ),
    (
        "broken rules",
        broken_in_many_places,
        (
            "  metadata.name: ",
            "  spec.objective.type: ",
            "  spec.objective.objectiveMetricName: ",
            "  spec.algorithm.algorithmName: ",
            "  spec.parallelTrialCount: ",
            "  spec.maxTrialCount: ",
            "  spec.parameters[0].feasibleSpace",
            "  spec.trialTemplate.trialParameters[0].reference: ",
        ),
    ),
]


@pytest.mark.parametrize("command", ["run", "apply"])
@pytest.mark.parametrize(
    ("text", "words"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_a_bad_file_is_refused_with_every_problem(
    tmp_path: Path, command: str, text: str | Callable[[], str], words: tuple[str, ...]
) -> None:
    stack = RealStack(tmp_path)
    file = tmp_path / "bad.yaml"
    file.write_text(text if isinstance(text, str) else text())
    told = expect_refusal(stack, command, str(file))
    assert told.splitlines()[0] == f"{file} is refused:"
    assert [word for word in words if word not in told] == []


@pytest.mark.parametrize("command", ["run", "apply"])
@pytest.mark.parametrize("name", ["gone.yaml", "folder"])
def test_what_cannot_be_read_is_refused(tmp_path: Path, command: str, name: str) -> None:
    stack = RealStack(tmp_path)
    (tmp_path / "folder").mkdir()
    told = expect_refusal(stack, command, str(tmp_path / name))
    assert told.startswith(f"cannot read {tmp_path / name}: ")


def expect_refusal(stack: RealStack, command: str, file: str) -> str:
    """What is said of it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = stack.call(command, file) if command == "run" else stack.call(command, "-f", file)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (done.code, done.out) == (2, ""), done.err
    assert "Traceback" not in done.err
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert used_s < DEADLINE_S
    assert done.took_s < BUSY_DEADLINE_S
    assert not stack.data.exists()
    assert not stack.processes()
    return done.err
