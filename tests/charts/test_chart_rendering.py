"""The charts render as the golden files say, into objects that Kubernetes takes."""

import copy
import functools
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import helm_python as helm
import kubernetes_validate
import pytest

from making.charts.files import chart_values
from making.charts.manifests import golden_files, manifest_files
from making.charts.rendering import objects_of

Object = dict[str, Any]
# From the oldest that the charts are for to the newest that the validator knows.
OLDEST_MINOR = 32
NEWEST_MINOR = int(kubernetes_validate.latest_version().split(".")[1])
VERSIONS = [f"1.{minor}" for minor in range(OLDEST_MINOR, NEWEST_MINOR + 1)]
NAMES = ["default", "external", "laptop-kind", "namespaced", "production"]
# Kinds of others, which the validator has no schema of.
FOREIGN = {"ServiceMonitor", "PrometheusRule"}


@pytest.mark.parametrize("chart", [*chart_values()])
def test_a_chart_has_nothing_that_lint_complains_of(charts: Path, chart: str) -> None:
    # An icon is for catalogues; there is none.
    told = [
        it
        for it in helm.lint(charts / chart, strict=True, quiet=False)["messages"]
        if "icon is recommended" not in str(it)
    ]
    assert told == []


def test_lint_finds_a_spoilt_template(charts: Path, tmp_path: Path) -> None:
    spoilt = tmp_path / "gateway"
    shutil.copytree(charts / "gateway", spoilt)
    (spoilt / "templates/more.yaml").write_text("a: {{ .Values.nothing.more }}\n")
    assert helm.lint(spoilt, strict=True)["errors"]


@pytest.mark.parametrize("name", NAMES)
def test_the_umbrella_is_linted_with_the_examples(
    charts: Path, cases: Mapping[str, dict[str, Any]], name: str
) -> None:
    answer = helm.lint(charts / "trialbus", cases[name], strict=True, namespace="trialbus")
    told = [it for it in answer["messages"] if "icon is recommended" not in str(it)]
    assert told == []


def test_the_golden_files_are_current(charts: Path) -> None:
    old = [path.name for path, text in golden_files(charts).items() if path.read_text() != text]
    assert old == [], "`make golden-charts` makes them again: look at the difference"


def test_the_manifests_are_current(charts: Path) -> None:
    files = manifest_files(charts)
    old = [path.name for path, text in files.items() if path.read_text() != text]
    assert old == [], "`make manifests` makes them again"


@pytest.fixture(autouse=True, scope="module")
def remembered_schemas() -> Iterator[None]:
    """The validator would read and parse a megabyte for each object."""
    with pytest.MonkeyPatch.context() as patch:
        cached = functools.cache(kubernetes_validate.utils.schema_contents)
        patch.setattr(kubernetes_validate.utils, "schema_contents", cached)
        yield


def problems(objects: list[Object], version: str) -> list[str]:
    found = []
    for it in objects:
        if it["kind"] in FOREIGN:
            continue
        try:
            kubernetes_validate.validate(it, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{it['kind']} {it['metadata']['name']}: {error.message}")
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_every_kubernetes_takes_the_objects(
    renderings: Mapping[str, list[Object]], version: str
) -> None:
    assert NEWEST_MINOR >= 36
    # Most objects are the same in several renderings.
    different = {json.dumps(it): it for objects in renderings.values() for it in objects}
    assert problems([*different.values()], version) == []


def test_a_wrong_field_is_found(renderings: Mapping[str, list[Object]]) -> None:
    spoilt = copy.deepcopy(renderings["default"])
    next(it for it in spoilt if it["kind"] == "Deployment")["spec"]["replica"] = 1
    assert problems(spoilt, VERSIONS[0])


def test_every_manifest_says_where_it_goes(charts: Path) -> None:
    """`kubectl apply -f` without -n puts nothing into a namespace by chance."""
    cluster_wide = {"Namespace", "ClusterRole", "ClusterRoleBinding"}
    for text in manifest_files(charts).values():
        for it in objects_of(text):
            assert ("namespace" in it["metadata"]) != (it["kind"] in cluster_wide), it["metadata"]


@pytest.mark.parametrize("name", NAMES)
def test_no_two_objects_are_one(renderings: Mapping[str, list[Object]], name: str) -> None:
    keys = [
        (it["kind"], it["metadata"].get("namespace"), it["metadata"]["name"])
        for it in renderings[name]
    ]
    assert len(keys) == len(set(keys))
