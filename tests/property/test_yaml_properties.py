"""Whatever comes in, reading and checking it either works or is Refused: nothing else, ever."""

import copy
import json
import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trialbus.contracts.katib.spec import parse_experiment
from trialbus.contracts.yaml_input import load_document, load_documents
from trialbus.kernel.catalogue import AlgorithmDescription, Catalogue
from trialbus.kernel.errors import Refused
from trialbus.kernel.templates import TrialIdentity, render_command, render_object
from trialbus.kernel.trial import Assignment

TYPES = frozenset({"double", "int", "discrete", "categorical"})
CATALOGUE = Catalogue(
    algorithms={
        "random": AlgorithmDescription(
            name="random", parameter_types=TYPES, distributions=frozenset({"uniform"})
        )
    },
    stopping_rules={},
)
BASE: dict[str, Any] = {
    "apiVersion": "kubeflow.org/v1beta1",
    "kind": "Experiment",
    "metadata": {"name": "exp"},
    "spec": {
        "objective": {"type": "minimize", "objectiveMetricName": "loss"},
        "algorithm": {"algorithmName": "random"},
        "parameters": [
            {"name": "x", "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}}
        ],
        "trialTemplate": {
            "primaryContainerName": "c",
            "trialParameters": [{"name": "p", "reference": "x"}],
            "trialSpec": {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "spec": {
                    "template": {
                        "spec": {
                            "containers": [{"name": "c", "command": ["a", "${trialParameters.p}"]}]
                        }
                    }
                },
            },
        },
        "metricsCollectorSpec": {"source": {"filter": {"metricsFormat": [r"(\w+)=(\d+)"]}}},
    },
}

FIELDS = sorted(
    {
        "name", "min", "max", "step", "list", "distribution", "goal", "type", "command", "env",
        "suspend", "nasConfig", "configMap", "metadata", "earlyStopping", "httpGet", "port",
        "resumePolicy", "primaryPodLabels", "customCollector", "annotations", "containers",
    }
)  # fmt: skip
texts = st.text(max_size=8) | st.sampled_from(
    [
        "", "1", "0.5", "-1e400", "nan", "x", "${trialParameters.p}", "${trialParameters.q}",
        "${trialSpec.Name}", "${trialSpec.Labels[a]}", "(", "(a)(b)", "random", "\ud800", "\0",
        "unknown", "logUniform", "9" * 200,
    ]
)  # fmt: skip
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(texts | st.sampled_from(FIELDS), inner, max_size=4)
    ),
    max_leaves=8,
)


def _nodes(value: Any) -> list[Any]:
    """All dicts and lists in `value`."""
    found = [value] if isinstance(value, dict | list) else []
    children = value.values() if isinstance(value, dict) else value if found else ()
    return found + [node for child in children for node in _nodes(child)]


@st.composite
def mutants(draw: st.DrawFn) -> Any:
    """The valid experiment with some of its parts replaced, added or removed."""
    obj = copy.deepcopy(BASE)
    for _ in range(draw(st.integers(1, 4))):
        node = draw(st.sampled_from(_nodes(obj)))
        if isinstance(node, dict):
            key = draw(st.sampled_from(sorted(node) + FIELDS) | texts)
            if draw(st.booleans()) or key not in node:
                node[key] = draw(values)
            else:
                del node[key]
        else:
            node.insert(draw(st.integers(0, len(node))), draw(values))
    return obj


@settings(max_examples=400)
@given(mutants())
def test_a_changed_experiment_is_taken_or_refused_and_then_runs(obj: Any) -> None:
    try:
        parsed = parse_experiment(obj, catalogue=CATALOGUE)
    except Refused as exc:
        assert exc.problems
        assert len({str(problem) for problem in exc.problems}) == len(exc.problems)
        return
    assert parse_experiment(parsed.source, catalogue=CATALOGUE) == parsed
    if parsed.spec.template is not None:
        trial = TrialIdentity(namespace=parsed.namespace, experiment=parsed.name, name="t")
        values = [Assignment(name=p.name, value="0.5") for p in parsed.spec.parameters]
        assert render_command(parsed.spec.template, trial, values, interpreter="i").command
        assert render_object(parsed.spec.template, trial, values)["metadata"]["name"] == "t"


@settings(max_examples=200)
@given(values)
def test_garbage_as_an_experiment_is_refused(value: Any) -> None:
    with pytest.raises(Refused):
        parse_experiment(value, catalogue=CATALOGUE)


yaml_like = st.text(alphabet=string.printable + "&*!{}[]:?-|>%\"'#\t\n é\0\ud7ff", max_size=80)


@settings(max_examples=400)
@given(yaml_like | st.lists(st.sampled_from(
    ["a: ", "- ", "? ", "&x ", "*x ", "!t ", "{", "}", "[", "]", "\n", "  ", "\n  ", "<<: ", "'",
     '"', "|\n", "#", "---\n", "1", ", ", "x", "~", "0x", "1e9", ".inf"]), max_size=30
).map("".join))  # fmt: skip
def test_any_text_is_read_or_refused(text: str) -> None:
    _is_json(text.encode("utf-8", "surrogatepass"))


@settings(max_examples=200)
@given(st.binary(max_size=100))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    _is_json(data)


def _is_json(data: bytes) -> None:
    try:
        documents = load_documents(data)
    except Refused as exc:
        assert exc.problems
        return
    text = json.dumps(documents, allow_nan=False)
    assert json.loads(text) == documents


plain = st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
objects = st.dictionaries(
    plain,
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | plain,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(plain, inner, max_size=4),
        max_leaves=10,
    ),
    max_size=4,
)


@settings(max_examples=200)
@given(objects, st.booleans())
def test_json_comes_back_as_it_went_in(value: dict[str, Any], ascii_only: bool) -> None:
    data = json.dumps(value, ensure_ascii=ascii_only).encode()
    assert load_document(data) == value
