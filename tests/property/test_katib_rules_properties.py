"""Any Experiment is taken or refused, whatever its collector, its template or its search space."""

import copy
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from trialbus.contracts.documents import EXPERIMENT
from trialbus.contracts.katib.condition_rules import path_problem
from trialbus.contracts.katib.spec import ParsedExperiment, parse_experiment
from trialbus.kernel.errors import Refused
from trialbus.kernel.experiment import Experiment, ExperimentPhase
from trialbus.kernel.spec import Place
from trialbus.testkit.katib_cases import CATALOGUE, FixedTemplate, Object

DATA = Path(__file__).parents[1] / "data" / "katib"
VALID: Object = yaml.safe_load((DATA / "valid.yaml").read_text())
JOB = yaml.safe_dump(VALID["spec"]["trialTemplate"]["trialSpec"])
SEARCH: Object = {
    "graphConfig": {"numLayers": 1, "inputSizes": [3], "outputSizes": [1]},
    "operations": [{"operationType": "c", "parameters": VALID["spec"]["parameters"]}],
}


def variant(**spec: Any) -> Object:
    obj = copy.deepcopy(VALID)
    obj["spec"] |= copy.deepcopy(spec)
    return obj


def searching() -> Object:
    obj = variant(algorithm={"algorithmName": "enas"}, nasConfig=SEARCH)
    del obj["spec"]["parameters"]
    return obj


def by_name() -> Object:
    obj = variant()
    template = obj["spec"]["trialTemplate"]
    del template["trialSpec"]
    template["configMap"] = {
        "configMapName": "c",
        "configMapNamespace": "n",
        "templatePath": "p",
    }
    return obj


def collecting(kind: str, source: Object, **collector: Any) -> Object:
    wire = {"collector": {"kind": kind, **collector}, "source": source}
    return variant(metricsCollectorSpec=wire, parallelTrialCount=1)


PATH = {"path": "/m", "kind": "File", "format": "TEXT"}
BASES = [
    variant(),
    searching(),
    by_name(),
    collecting("File", {"fileSystemPath": PATH, "filter": {"metricsFormat": [r"(\w+)=(\d+)"]}}),
    collecting("TensorFlowEvent", {"fileSystemPath": {"path": "/m", "kind": "Directory"}}),
    collecting(
        "PrometheusMetric",
        {"httpGet": {"port": 80, "path": "/m", "httpHeaders": [{"name": "a", "value": "b"}]}},
    ),
    collecting(
        "Custom",
        {"fileSystemPath": PATH},
        customCollector={"name": "c", "image": "i", "env": [{"name": "a", "value": "b"}]},
    ),
]
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 70_000)
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(
        ["", "/x", "/x/../y", "Job", "Workflow", "JSON", "Custom", "Push", "StdOut", "8080", "File",
         "${trialParameters.rate}", "$(TRIALBUS_METRICS_PORT)", "enas", "random", "int", "double"]
    )
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


def _nodes(value: Any) -> list[Any]:
    found = [value] if isinstance(value, dict | list) else []
    children = value.values() if isinstance(value, dict) else value if found else ()
    return found + [node for child in children for node in _nodes(child)]


@st.composite
def mutants(draw: st.DrawFn) -> Object:
    """One of the experiments with some of its parts replaced, added or removed."""
    obj = copy.deepcopy(draw(st.sampled_from(BASES)))
    for _ in range(draw(st.integers(0, 3))):
        node = draw(st.sampled_from(_nodes(obj["spec"])))
        if isinstance(node, list):
            node.insert(draw(st.integers(0, len(node))), draw(values))
        elif node and draw(st.integers(0, 3)):
            node[draw(st.sampled_from(sorted(node)))] = draw(values)
        elif node:
            del node[draw(st.sampled_from(sorted(node)))]
    return obj


def _as_a_document(parsed: ParsedExperiment) -> Experiment:
    return Experiment(
        id="u",
        version=1,
        namespace=parsed.namespace,
        name=parsed.name,
        spec=parsed.spec,
        source=parsed.source,
        seed=1,
        phase=ExperimentPhase.CREATED,
        created_at=0.0,
        alive_name=None,
    )


@settings(max_examples=600)
@given(mutants(), st.sampled_from(Place), st.sampled_from([JOB, "", "[", "a: b"]))
def test_any_experiment_is_taken_and_kept_or_refused_with_reasons(
    obj: Object, place: Place, template: str
) -> None:
    how: Any = {"catalogue": CATALOGUE, "place": place, "templates": FixedTemplate(template)}
    try:
        parsed = parse_experiment(obj, **how)
    except Refused as refused:
        assert refused.problems
        assert all(problem.message for problem in refused.problems)
        return
    assert parse_experiment(parsed.source, **how) == parsed
    state = _as_a_document(parsed)
    assert EXPERIMENT.decode(EXPERIMENT.encode(state)) == state


@settings(max_examples=500)
@given(st.text(alphabet='a.|#()[]{}"\\=!<>%@:~, 1\n', max_size=30))
def test_any_text_is_a_path_or_has_a_problem(text: str) -> None:
    wrong = path_problem(text)
    assert wrong is None or wrong


@settings(max_examples=300)
@given(st.recursive(
    st.sampled_from(["a", "b.c", "#", "@this", "0", "a*", r"a\.b"]),
    lambda inner: (
        st.tuples(inner, inner).map(".".join)
        | st.tuples(inner, inner).map("|".join)
        | inner.map('#({}=="x)")#'.format)
        | inner.map("#({} > 1)".format)
        | st.tuples(inner, inner).map("[{0[0]},{0[1]}]".format)
        | inner.map('{{"n":{}}}'.format)
    ),
    max_leaves=5,
))  # fmt: skip
def test_paths_made_by_the_grammar_are_taken_and_not_with_a_bracket_less(path: str) -> None:
    assert path_problem(path) is None
    if path.endswith((")", "]", "}")):
        assert path_problem(path[:-1]) is not None
