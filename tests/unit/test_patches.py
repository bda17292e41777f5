"""JSON merge patch and JSON patch, by the test vectors of their RFCs."""

from copy import deepcopy
from typing import Any

import pytest

from trialbus_gateway.adapters.kubernetes.patches import (
    PatchFailed,
    TestFailed,
    json_patch,
    merge_patch,
)

# RFC 7386, appendix A: original, patch, result.
MERGES: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("original", "patch", "result"), MERGES)
def test_merge_patches_give_what_the_rfc_says(original: Any, patch: Any, result: Any) -> None:
    before = deepcopy(original)
    assert merge_patch(original, patch) == result
    assert original == before


def op(name: str, path: str, **more: Any) -> dict[str, Any]:
    return {"op": name, "path": path, **more}


# RFC 6902, appendix A (the numbers are its sections): document, operations, result.
PATCHES: dict[str, tuple[Any, list[dict[str, Any]], Any]] = {
    "A.1": ({"foo": "bar"}, [op("add", "/baz", value="qux")], {"baz": "qux", "foo": "bar"}),
    "A.2": (
        {"foo": ["bar", "baz"]},
        [op("add", "/foo/1", value="qux")],
        {"foo": ["bar", "qux", "baz"]},
    ),
    "A.3": ({"baz": "qux", "foo": "bar"}, [op("remove", "/baz")], {"foo": "bar"}),
    "A.4": (
        {"foo": ["bar", "qux", "baz"]},
        [op("remove", "/foo/1")],
        {"foo": ["bar", "baz"]},
    ),
    "A.5": (
        {"baz": "qux", "foo": "bar"},
        [op("replace", "/baz", value="boo")],
        {"baz": "boo", "foo": "bar"},
    ),
    "A.6": (
        {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
        [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
        {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
    ),
    "A.7": (
        {"foo": ["all", "grass", "cows", "eat"]},
        [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
        {"foo": ["all", "cows", "eat", "grass"]},
    ),
    "A.8": (
        {"baz": "qux", "foo": ["a", 2, "c"]},
        [op("test", "/baz", value="qux"), op("test", "/foo/1", value=2)],
        {"baz": "qux", "foo": ["a", 2, "c"]},
    ),
    "A.10": (
        {"foo": "bar"},
        [op("add", "/child", value={"grandchild": {}})],
        {"foo": "bar", "child": {"grandchild": {}}},
    ),
    "A.11": (
        {"foo": "bar"},
        [op("add", "/baz", value="qux", xyz=123)],
        {"foo": "bar", "baz": "qux"},
    ),
    "A.14": ({"/": 9, "~1": 10}, [op("test", "/~01", value=10)], {"/": 9, "~1": 10}),
    "A.16": (
        {"foo": ["bar"]},
        [op("add", "/foo/-", value=["abc", "def"])],
        {"foo": ["bar", ["abc", "def"]]},
    ),
    "the whole": ({"a": 1}, [op("replace", "", value={"b": 2})], {"b": 2}),
    "a copy": (
        {"a": {"b": 1}},
        [{"op": "copy", "from": "/a", "path": "/c"}, op("replace", "/c/b", value=2)],
        {"a": {"b": 1}, "c": {"b": 2}},
    ),
    "numbers": ({"a": 1}, [op("test", "/a", value=1.0)], {"a": 1}),
}


@pytest.mark.parametrize("case", PATCHES)
def test_json_patches_give_what_the_rfc_says(case: str) -> None:
    document, operations, result = PATCHES[case]
    before = deepcopy(document)
    assert json_patch(document, operations) == result
    assert document == before


@pytest.mark.parametrize(
    ("document", "operations"),
    [
        ({"baz": "qux"}, [op("test", "/baz", value="bar")]),  # A.9
        ({"/": 9, "~1": 10}, [op("test", "/~01", value="10")]),  # A.15
        ({"a": True}, [op("test", "/a", value=1)]),
    ],
)
def test_a_test_that_does_not_hold_is_told_apart(document: Any, operations: Any) -> None:
    with pytest.raises(TestFailed):
        json_patch(document, operations)


@pytest.mark.parametrize(
    "operations",
    [
        [op("add", "/baz/bat", value="qux")],  # A.12
        [op("remove", "/nothing")],
        [op("replace", "/nothing", value=1)],
        [op("replace", "/foo/7", value=1)],
        [op("add", "/foo/01", value=1)],
        [op("add", "/foo/-1", value=1)],
        [op("remove", "/foo/-")],
        [op("add", "/foo/x/y", value=1)],
        [op("add", "foo", value=1)],
        [op("add", "/foo")],
        [op("jump", "/foo")],
        [op("test", "/nothing", value=1)],
        [{"op": "move", "path": "/a"}],
        [{"op": "move", "from": "/foo", "path": "/foo/0"}],
        [{"op": ["add"], "path": "/foo"}],
        ["add"],
        {"op": "add"},
        "add",
        None,
    ],
)
def test_what_is_no_patch_of_this_document_fails_and_leaves_it(operations: Any) -> None:
    document = {"foo": [1, 2]}
    with pytest.raises(PatchFailed):
        json_patch(document, operations)
    assert document == {"foo": [1, 2]}


@pytest.mark.parametrize("target", ["/a/-", "/b"])
def test_copies_of_copies_end_before_they_fill_the_memory(target: str) -> None:
    back = {"op": "move", "from": "/b", "path": "/a/0"}
    copies = [{"op": "copy", "from": "/a", "path": target}, *([back] if target == "/b" else [])]
    with pytest.raises(PatchFailed, match=r"copied|deep"):
        json_patch({"a": [[1]]}, copies * 200)


def test_a_patch_is_applied_as_a_whole_or_not_at_all() -> None:
    document = {"a": 1}
    with pytest.raises(PatchFailed, match="operation 1"):
        json_patch(document, [op("add", "/b", value=2), op("remove", "/c")])
    assert document == {"a": 1}
