"""Selectors: the grammar of apimachinery's pkg/labels and pkg/fields."""

import pytest

from trialbus_gateway.adapters.kubernetes.selectors import (
    Selection,
    parse_fields,
    parse_labels,
)
from trialbus_gateway.app.failures import Unreadable

LABELS = {"app": "tune", "tier": "gold", "n": "3", "empty": "", "a.b/c": "x_1"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "app=tune",
        "app==tune",
        "app = tune",
        "app!=other",
        "app in (a, tune)",
        "app in (tune)",
        "app notin (a,b)",
        "app",
        "!other",
        "! other",
        "other!=x",
        "other notin (x)",
        "n>2",
        "n<4",
        "empty=",
        "empty in (,x)",
        "a.b/c=x_1",
        "app=tune,tier in (gold,silver),!other",
        "in notin (x)",
    ],
)
def test_labels_that_fit(text: str) -> None:
    assert Selection(labels=parse_labels(text)).fits(LABELS)


@pytest.mark.parametrize(
    "text",
    [
        "app=other",
        "app!=tune",
        "app in (a,b)",
        "app notin (tune)",
        "other",
        "!app",
        "other=",
        "other in (x)",
        "n>3",
        "n<3",
        "app>1",
        "other>1",
        "app=tune,tier=lead",
    ],
)
def test_labels_that_do_not_fit(text: str) -> None:
    assert not Selection(labels=parse_labels(text)).fits(LABELS)


@pytest.mark.parametrize(
    "text",
    [
        "app tune",
        "=tune",
        "app in tune",
        "app in (a",
        "app in a)",
        "!app=tune",
        "app=tune,",
        ",app",
        "app=tu/ne",
        "app=-x",
        "-app",
        "UPPER.b/c",
        "a/b/c",
        "n>x",
        "app=" + "x" * 64,
        "()",
        "app=(a)",
    ],
)
def test_what_is_no_label_selector_is_said_to_be_none(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_labels(text)


def test_fields_select_by_name_and_namespace() -> None:
    selection = Selection(fields=parse_fields("metadata.name=tune,metadata.namespace!=lab"))
    assert selection.fits_name("other", "tune")
    assert not selection.fits_name("lab", "tune")
    assert not selection.fits_name("other", "walk")
    assert selection.one_field("metadata.name") == "tune"
    assert selection.one_field("metadata.namespace") is None


@pytest.mark.parametrize("text", ["metadata.name==a\\,b", "metadata.name=a\\,b"])
def test_an_escaped_comma_belongs_to_the_value(text: str) -> None:
    assert Selection(fields=parse_fields(text)).fits_name("lab", "a,b")


def test_other_fields_are_refused_as_kubernetes_says_it() -> None:
    with pytest.raises(Unreadable, match=r"^field label not supported: status\.phase$"):
        parse_fields("status.phase=Running")
    with pytest.raises(Unreadable, match="can't understand 'name'"):
        parse_fields("name")


def test_the_only_value_of_a_label_is_known() -> None:
    key = "katib.kubeflow.org/experiment"
    assert Selection(labels=parse_labels(f"{key}=tune")).one_label(key) == "tune"
    assert Selection(labels=parse_labels(f"{key} in (tune)")).one_label(key) == "tune"
    assert Selection(labels=parse_labels(f"{key} in (a,b)")).one_label(key) is None
    assert Selection(labels=parse_labels(f"{key}!=tune")).one_label(key) is None
