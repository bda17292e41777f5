"""deploy/crds on Kubernetes' own server of custom resources: taken, and refusing what our own
evaluation of their schemas and rules says they refuse."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.cluster.definitions.server import CRDS as DEFINITIONS
from tests.cluster.definitions.server import MISSING, is_built, running_definitions

from trialbus.testkit.definition_checks import problems
from trialbus.testkit.katib_cases import changed
from trialbus.testkit.waits import until_sync

pytestmark = pytest.mark.skipif(not is_built(), reason=MISSING)

REPOSITORY = Path(__file__).parents[2]
DATA = REPOSITORY / "tests/data/katib"
EXPERIMENTS = "/apis/kubeflow.org/v1beta1/namespaces/default/experiments"
ESTABLISHED_WITHIN_S = 20.0
Object = dict[str, Any]


def _read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


CRDS = {path.stem: _read(path) for path in sorted((REPOSITORY / "deploy/crds").glob("*.yaml"))}
SCHEMA = CRDS["experiment"]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """With our definitions, and no objects."""
    with (
        running_definitions(tmp_path_factory.mktemp("definitions")) as running,
        running.client() as http,
    ):
        for crd in CRDS.values():
            answer = http.post(DEFINITIONS, params={"fieldValidation": "Strict"}, json=crd)
            assert answer.status_code == 201, answer.text
        for name in CRDS:
            _until_established(http, name)
        yield http


def _until_established(http: httpx.Client, name: str) -> None:
    place = f"{DEFINITIONS}/{CRDS[name]['metadata']['name']}"

    def established() -> bool:
        conditions = http.get(place).json()["status"]["conditions"] or []
        return ("Established", "True") in {(it["type"], it["status"]) for it in conditions}

    until_sync(established, f"{name} is established", within_s=ESTABLISHED_WITHIN_S)
    until_sync(
        lambda: http.get(EXPERIMENTS).status_code == 200 or name != "experiment",
        "experiments are served",
        within_s=ESTABLISHED_WITHIN_S,
    )


def _tried(http: httpx.Client, body: Object) -> httpx.Response:
    body = copy.deepcopy(body)
    # The path says it.
    body.setdefault("metadata", {}).pop("namespace", None)
    return http.post(EXPERIMENTS, params={"dryRun": "All"}, json=body)


def _fields(answer: httpx.Response) -> set[str]:
    causes = answer.json()["details"].get("causes", [])
    # Of the whole object.
    return {cause["field"].replace("<nil>", "") for cause in causes}


@pytest.mark.parametrize("name", CRDS)
def test_the_definition_has_no_problem(server: httpx.Client, name: str) -> None:
    found = server.get(f"{DEFINITIONS}/{CRDS[name]['metadata']['name']}").json()
    kinds = {it["type"]: it["status"] for it in found["status"]["conditions"]}
    assert kinds == {"NamesAccepted": "True", "Established": "True"}


def _in_repository() -> list[tuple[str, Object]]:
    found = []
    for folder in ("examples", "tests/data"):
        for path in sorted((REPOSITORY / folder).rglob("*.yaml")):
            for it in yaml.safe_load_all(path.read_text()):
                if isinstance(it, dict) and it.get("kind") == "Experiment":
                    found.append((str(path.relative_to(REPOSITORY)), it))
    return found


def test_every_experiment_in_the_repository_is_taken(server: httpx.Client) -> None:
    refused = []
    for path, body in _in_repository():
        answer = _tried(server, body)
        if answer.status_code != 201:
            refused.append((path, answer.text))
    assert refused == []


def test_it_refuses_what_our_evaluation_refuses_and_at_the_same_fields(
    server: httpx.Client,
) -> None:
    """A missing field is told of what should hold it here, and by itself there."""
    valid = _read(DATA / "valid.yaml")
    differing = []
    for case in [*_read(DATA / "broken-rules.yaml"), *_read(DATA / "accepted.yaml")]:
        body = changed(copy.deepcopy(valid), case)
        ours = {field for field, _ in problems(SCHEMA, body)}
        answer = _tried(server, body)
        theirs = set() if answer.status_code == 201 else _fields(answer)
        near = all(any(_is_near(field, it) for it in theirs) for field in ours)
        if not near or bool(ours) != (answer.status_code == 422):
            differing.append((case, answer.status_code, theirs, ours))
    assert differing == []


def _is_near(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)
