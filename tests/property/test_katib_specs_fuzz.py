"""Generated specs: whatever is in them, an Experiment is taken or Refused, with the fields named.

Some are made from the schema, some from Katib's own examples; all are then damaged in up to four
places. TRIALBUS_SPECS says how many; `make fuzz` runs 10,000 of each law.
"""

import copy
import os
import string
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from trialbus.contracts.katib import models
from trialbus.contracts.katib.schemas import EXPERIMENT, structural_schema
from trialbus.contracts.katib.spec import ParsedExperiment, parse_experiment
from trialbus.kernel.catalogue import AlgorithmDescription, Catalogue
from trialbus.kernel.distributions import DistributionKind
from trialbus.kernel.errors import Refused
from trialbus.kernel.limits import MAX_MESSAGE_CHARS, MAX_PROBLEMS
from trialbus.kernel.space_rules import PARAMETER_TYPES
from trialbus.kernel.spec import Place
from trialbus.runtime.catalogue import load_catalogue

Json = Any
Path_ = tuple[str | int, ...]

SPECS = int(os.environ.get("TRIALBUS_SPECS", "150"))
many = settings(
    max_examples=SPECS,
    suppress_health_check=list(HealthCheck),
    database=None,
)

FOLDER = Path(__file__).parents[2] / "examples"
OBJECTS = [yaml.safe_load(path.read_text()) for path in sorted(FOLDER.rglob("*.yaml"))]
EXAMPLES = [it for it in OBJECTS if it.get("kind") == "Experiment"]
INSTALLED = load_catalogue()
# What the examples name and is not here yet is taken as it is.
OTHERS = {
    name: AlgorithmDescription(
        name=name,
        parameter_types=frozenset(PARAMETER_TYPES),
        distributions=frozenset(kind.value for kind in DistributionKind),
        searches=frozenset({"parameters", "architectures"}),
        any_settings=True,
    )
    for name in {example["spec"]["algorithm"]["algorithmName"] for example in EXAMPLES}
}
CATALOGUE = Catalogue(
    algorithms={**OTHERS, **INSTALLED.algorithms}, stopping_rules=INSTALLED.stopping_rules
)
SCHEMA = structural_schema(EXPERIMENT)
FIELDS = sorted({name for name in str(SCHEMA).split("'") if name.isalnum()})
# What has been misread somewhere by somebody: numbers, expressions, placeholders, paths.
TEXTS = (
    "", " ", "0", "1", "-0", "1e400", "1e-400", "nan", "inf", "0x1", "1_000", "٣", "0.1", "-5",
    "100000000000000000000", "1" * 101, "a" * 1001, "${trialParameters.lr}", "${trialParameters.}",
    "${trialSpec.Name}", "${trialSpec.Labels[a]}", "${trialParameters.${trialParameters.lr}}",
    "([", "(a+)+b", "([\\w|-]+)\\s*=\\s*(.*)", "(?P<a>x)(?P<b>y)", "\\", "a\nb", "a\0b", "\ud800",
    "ÅÄÖ", "🙂", "../..", "/dev/null", "/", "~", "loss", "lr", "random", "unknown", "Never", "Job",
    "status.conditions.#(type==\"Complete\")#|#(status==\"True\")#", "#(", "@this", "true", "null",
)  # fmt: skip
NUMBERS = (0, 1, -1, 3, 2**31 - 1, 2**31, -(2**31), 2**63 - 1, 2**63, 2**64, 0.0, -0.0, 0.5, 1e308,
           5e-324, float("inf"), float("nan"))  # fmt: skip

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(NUMBERS),
    st.sampled_from(TEXTS),
    st.sampled_from(FIELDS),
    st.text(string.printable, max_size=12),
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=3)
    ),
    max_leaves=6,
)


def fitting(schema: Json) -> st.SearchStrategy[Json]:
    """Values that keep to the schema."""
    if schema.get("x-kubernetes-int-or-string"):
        return st.integers(0, 70_000) | st.sampled_from(TEXTS)
    values: Callable[[Json], st.SearchStrategy[Json]] = {
        "object": _objects,
        "array": lambda node: st.lists(fitting(node["items"]), max_size=3),
        "string": lambda node: st.sampled_from(node.get("enum", TEXTS)),
        "integer": lambda node: st.integers(node.get("minimum", -9), 9),
        "number": lambda _: st.floats(allow_nan=False, allow_infinity=False),
        "boolean": lambda _: st.booleans(),
    }[schema["type"]]
    return st.one_of(st.none(), values(schema)) if schema.get("nullable") else values(schema)


def _objects(schema: Json) -> st.SearchStrategy[Json]:
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        found = [example["spec"]["trialTemplate"]["trialSpec"] for example in EXAMPLES
                 if "trialSpec" in example["spec"].get("trialTemplate", {})]  # fmt: skip
        return st.sampled_from(found).map(copy.deepcopy) | st.dictionaries(
            st.sampled_from(FIELDS), scalars
        )
    if "additionalProperties" in schema:
        return st.dictionaries(st.sampled_from(TEXTS), st.sampled_from(TEXTS), max_size=3)
    fields = {name: fitting(inner) for name, inner in schema.get("properties", {}).items()}
    required = {name: fields.pop(name) for name in schema.get("required", ())}
    return st.fixed_dictionaries(required, optional=fields)


def places(node: Json, path: Path_ = ()) -> Iterator[Path_]:
    """Where something stands below the node."""
    inner = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in inner:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


def parent_of(document: Json, path: Path_) -> Json:
    for part in path[:-1]:
        document = document[part]
    return document


def schema_at(path: Path_) -> Json:
    """What the schema says of this place; nothing of one that it does not know."""
    schema: Json = SCHEMA
    for part in path:
        inner = schema.get("items") if isinstance(part, int) else schema.get("properties", {})
        schema = inner if isinstance(part, int) else (inner or {}).get(part)
        if not schema:
            return None
    return schema


specs = fitting(SCHEMA["properties"]["spec"])
from_schema = st.builds(
    lambda spec: {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": "exp"},
        "spec": spec,
    },
    specs,
)
from_example = st.sampled_from(EXAMPLES)


@st.composite
def damaged(draw: st.DrawFn, most: int = 4) -> Json:
    """A document with some things, `most` at most, taken out, replaced, doubled or misspelt."""
    is_example = draw(st.integers(0, 9)) < 8
    document = copy.deepcopy(draw(from_example if is_example else from_schema))
    for _ in range(draw(st.integers(0, most))):
        below_spec = [path for path in places(document) if path[0] in ("spec", "metadata")]
        if not below_spec:
            break
        path = draw(st.sampled_from(below_spec))
        _damage(draw, parent_of(document, path), path)
    return document


def _damage(draw: st.DrawFn, parent: Json, path: Path_) -> None:
    key, schema = path[-1], schema_at(path)
    kinds = ("remove", "replace", "retype", "double", "rename")
    kind = draw(st.sampled_from((*kinds, "refit", "refit", "refit") if schema else kinds))
    if kind == "remove":
        del parent[key]
    elif kind == "refit":
        parent[key] = draw(fitting(schema))
    elif kind == "replace":
        parent[key] = draw(st.sampled_from(TEXTS))
    elif kind == "retype":
        parent[key] = draw(anything)
    elif isinstance(parent, list):
        parent.append(copy.deepcopy(parent[int(key)]))
    elif kind == "rename":
        parent[draw(st.sampled_from((*FIELDS, f"{key}s", str(key).upper())))] = parent.pop(key)


Outcome = ParsedExperiment | tuple[tuple[str, str], ...]


def outcome(document: Json, place: Place) -> Outcome:
    """What becomes of a document: taken, or its problems. Anything else fails the test."""
    try:
        return parse_experiment(document, catalogue=CATALOGUE, place=place)
    except Refused as refused:
        return tuple((problem.field, problem.message) for problem in refused.problems)


PLACES = st.sampled_from(Place)


@given(document=damaged(), place=PLACES)
@many
def test_a_spec_is_taken_or_refused_with_its_fields(document: Json, place: Place) -> None:
    found = outcome(document, place)
    event("taken" if isinstance(found, ParsedExperiment) else "refused")
    if isinstance(found, ParsedExperiment):
        models.Experiment.model_validate(found.source)
        return
    assert 0 < len(found) <= MAX_PROBLEMS
    known = {"metadata", "spec", *document}
    for field, message in found:
        assert field.split(".")[0].split("[")[0] in known, field
        assert 0 < len(message) <= MAX_MESSAGE_CHARS


@given(document=damaged(), place=PLACES)
@many
def test_the_answer_depends_on_the_spec_alone(document: Json, place: Place) -> None:
    before = repr(document)
    first = outcome(document, place)
    assert repr(document) == before
    assert outcome(copy.deepcopy(document), place) == first


@given(document=damaged(most=1), place=PLACES)
@many
def test_what_was_taken_is_taken_again_as_it_is(document: Json, place: Place) -> None:
    """People get an object and apply it again: its defaults stay what they are."""
    taken = outcome(document, place)
    if isinstance(taken, ParsedExperiment):
        event("taken")
        assert outcome(taken.source, place) == taken


def test_undamaged_examples_reach_the_end_of_the_rules() -> None:
    taken = [it for it in EXAMPLES if isinstance(outcome(it, Place.CLUSTER), ParsedExperiment)]
    assert len(taken) >= 5
