"""Hostile and ordinary documents: what is refused, in which words, in what time and memory."""

import json
import tracemalloc

import pytest

from trialbus.contracts.yaml_input import check_json, load_document, load_documents
from trialbus.kernel.errors import Refused
from trialbus.testkit.processor_time import cpu_s

MAX_SECONDS = 0.25
MAX_BYTES = 64 * 1024 * 1024
MIB = 1024 * 1024


def _bomb(levels: int = 9) -> bytes:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, levels):
        items = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} [{items}]")
    return "\n".join(lines).encode()


HOSTILE = {
    "bomb of aliases": (_bomb(), "more than 10000 values"),
    "bomb of mappings": (
        b"a: &a {x: 1, y: 2}\n"
        + b"".join(
            f"b{i}: &b{i} {{p: *{'a' if i == 0 else f'b{i - 1}'}, "
            f"q: *{'a' if i == 0 else f'b{i - 1}'}}}\n".encode()
            for i in range(40)
        ),
        "more than 10000 values",
    ),
    "long text by many aliases": (
        b"a: &a " + b"x" * 500_000 + b"\nb: [" + b"*a," * 5000 + b"]",
        "characters, aliases written out",
    ),
    "long key by many aliases": (
        b"a: &a {? " + b"k" * 1000 + b" : 1}\nb: [" + b"*a," * 4000 + b"]",
        "characters, aliases written out",
    ),
    "deep by aliases": (
        b"a0: &a0 [1]\n" + b"".join(f"a{i}: &a{i} [*a{i - 1}]\n".encode() for i in range(1, 140)),
        "levels deep",
    ),
    "alias to itself": (b"a: &a [1, *a]", "stands for nothing"),
    "alias without anchor": (b"a: *b", "stands for nothing"),
    "alias as a key": (b"a: &a x\n*a : 1", "alias as a key"),
    "merge key": (b"a: &a {x: 1}\nb:\n  <<: *a\n", "merge keys"),
    "merge of a bomb": (_bomb(5) + b"\nb: {<<: *a4}", "more than 10000"),
    "python object": (b'a: !!python/object/apply:os.system ["true"]', "tag"),
    "python name": (b"a: !!python/name:os.system", "tag"),
    "own tag": (b"a: !secret x", "tag"),
    "standard tag": (b"a: !!str 1", "tag"),
    "tagged key": (b"!!str a: 1", "tag"),
    "binary": (b"a: !!binary aGVsbG8=", "tag"),
    "set": (b"a: !!set {x, y}", "tag"),
    "tag directive": (b"%TAG ! tag:evil.example,2000:\n---\na: 1", "%TAG"),
    "100,000 tag directives": (
        b"".join(b"%%TAG !%x! t:x\n" % i for i in range(60_000)) + b"---\na: 1",
        "%TAG",
    ),
    "unknown directives": (b"%FOO bar\n" * 100_000 + b"---\na: 1", ""),
    "repeated key": (b"a: 1\nb: 2\na: 3", "given twice"),
    "repeated quoted key": (b"a: 1\n'a': 3", "given twice"),
    "repeated JSON key": (b'{"a": 1, "b": {"c": 1, "c": 2}}', "given twice"),
    "number as key": (b"1: x", "not text"),
    "on as key": (b"on: push", "not text"),
    "null as key": (b"~: x", "not text"),
    "missing key": (b": x", "not YAML"),
    "list as key": (b"? [a, b]\n: x", "as a key"),
    "mapping as key": (b"? {a: b}\n: x", "as a key"),
    "10,000 brackets": (b"[" * 10_000, "levels deep"),
    "10,000 pairs of brackets": (b"a: " + b"[" * 10_000 + b"]" * 10_000, "levels deep"),
    "500,000 braces": (b"{" * 500_000, ""),
    "10,000 JSON levels": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "levels deep"),
    "200 JSON levels": (b'{"a":' * 200 + b"1" + b"}" * 200, "levels deep"),
    "10,000 dashes": (b"- " * 10_000 + b"x", "levels deep"),
    "10,000 question marks": (b"? " * 10_000 + b"x", ""),
    "deep by indentation": (
        b"".join(b" " * i + b"a:\n" for i in range(1400)),
        "levels deep",
    ),
    "20,000 values": (b"a: [" + b"1," * 20_000 + b"]", "more than 10000"),
    "20,000 documents": (b"---\n" * 20_000, "more than 10000"),
    "350,000 JSON lists": (b'{"a":[' + b"[]," * 345_000 + b"[]]}", "more than 10000"),
    "100,000 JSON keys": (
        b"{" + b",".join(b'"%x":1' % i for i in range(90_000)) + b"}",
        "more than 10000",
    ),
    "10 MB": (b"a: " + b"x" * 10_000_000, "at most 1048576"),
    "just too large": (b"a: " + b"x" * MIB, "at most 1048576"),
    "NUL": (b"a: x\nb: \0", "NUL"),
    "NUL by escape": (b'a: "x\\0y"', "NUL"),
    "NUL by JSON escape": (b'{"a": "x\\u0000y"}', "NUL"),
    "NUL in a JSON key": (b'{"x\\u0000y": 1}', "NUL"),
    "half a surrogate pair": (b'{"a": "\\ud800"}', "surrogate"),
    "control character": (b"a: \x01", "not YAML"),
    "not UTF-8": (b"a: ok\nb: \xff\xfe", "UTF-8"),
    "UTF-16": ("a: x".encode("utf-16"), "UTF-8"),
    "infinite": (b"a: .inf", "no number that JSON can hold"),
    "not a number": (b"a: .nan", "no number that JSON can hold"),
    "JSON NaN": (b'{"a": NaN, "a": 1}', "given twice"),
    "too large a float": (b"a: 1e999", "too large"),
    "too large an integer": (b"a: 9223372036854775808", "64 bits"),
    "a million digits": (b"a: " + b"9" * 1_000_000, "64 bits"),
    "a million JSON digits": (b'{"a": ' + b"9" * 1_000_000 + b"}", "64 bits"),
    "a million octal digits": (b"a: 0" + b"7" * 1_000_000, "64 bits"),
    "a million blanks": (b" " * 1_000_000, "empty"),
    "a million newlines": (b"\n" * 1_000_000, "empty"),
    "only comments": (b"# x\n" * 200_000, "empty"),
    "empty": (b"", "empty"),
    "only a list": (b"- a\n- b", "not a list"),
    "only a text": (b"hello", "not the text 'hello'"),
    "only a number": (b"5", "not 5"),
    "tab": (b"a:\n\tb: 1", "not tabs"),
    "unclosed quote": (b'a: "x', "not YAML"),
    "unclosed bracket": (b"a: [1, 2", "not YAML"),
    "long unclosed quote": (b'a: "' + b"x\n" * 400_000, "not YAML"),
    "many colons": (b"a: " + b"b: " * 100_000, "not YAML"),
    "many anchors": (b"a: [" + b"".join(b"&a%d x," % i for i in range(60_000)) + b"]", "10000"),
    "second document": (b"a: 1\n---\nb: 2", "2 documents"),
    "shell archive": (b"#!/bin/sh\necho $(id)\n", "not the text"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_document_is_refused_in_bounded_time(name: str) -> None:
    data, words = HOSTILE[name]
    refusals: list[Refused] = []

    def load() -> None:
        with pytest.raises(Refused) as caught:
            load_document(data)
        refusals.append(caught.value)

    assert cpu_s(load) < MAX_SECONDS
    for refusal in refusals:
        assert words in str(refusal)
        assert all(len(str(problem)) < 400 for problem in refusal.problems)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_document_is_refused_in_bounded_memory(name: str) -> None:
    data, _ = HOSTILE[name]
    tracemalloc.start()
    try:
        with pytest.raises(Refused):
            load_document(data)
        assert tracemalloc.get_traced_memory()[1] < MAX_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b"a: 1\nb:\n  c: 1\n  c: 2\n", "line 4, column 3"),
        (b"a: 1\nb: [1, !x 2]\n", "line 2, column 8"),
        (b"a: 1\n  b: 2\n", "line 2, column 4"),
        (b"a: x\nb: y\0", "line 2, column 5"),
        (b'{"a": 1,\n "a": 2}', "line 2, column 2"),
    ],
)
def test_a_problem_names_line_and_column(data: bytes, place: str) -> None:
    with pytest.raises(Refused) as caught:
        load_document(data)
    assert caught.value.problems[0].field == place


def test_all_repeated_keys_and_tags_are_named_at_once() -> None:
    with pytest.raises(Refused) as caught:
        load_document(b"a: 1\na: 2\nb: !x 1\n3: 4\nc: .inf\n")
    assert [problem.field for problem in caught.value.problems] == [
        "line 2, column 1",
        "line 3, column 4",
        "line 4, column 1",
        "line 5, column 4",
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.01", 0.01),
        ("1e-3", 0.001),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("12", 12),
        ("-12", -12),
        ("1_000", 1000),
        ("0x1F", 31),
        ("0777", 511),
        ("0o17", 15),
        ("0b11", 3),
        ("9223372036854775807", 2**63 - 1),
        ("on", True),
        ("No", False),
        ("y", "y"),
        ("~", None),
        ("", None),
        ("2024-01-01", "2024-01-01"),
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z"),
        ("12:30:45", "12:30:45"),
        ("1.2.3", "1.2.3"),
        ("--lr", "--lr"),
        ('"0.01"', "0.01"),
        ("'on'", "on"),
        ("=", "="),
        ("0x_", "0x_"),
        ("|\n  one\n  two", "one\ntwo\n"),
    ],
)
def test_a_scalar_means_what_it_means_to_kubectl(text: str, value: object) -> None:
    result = load_document(f"a: {text}\n".encode())["a"]
    assert result == value
    assert type(result) is type(value)


def test_an_alias_is_copied_out() -> None:
    document = load_document(b"a: &a {x: [1]}\nb: *a\n")
    document["a"]["x"].append(2)
    assert document["b"] == {"x": [1]}


def test_json_reads_like_yaml() -> None:
    value = {"a": [1, 2.5, True, None, "\U0001f600/é"], "b": {"k" * 2000: "x\ty"}, "c": -0.0}
    assert load_document(json.dumps(value).encode()) == value
    assert load_document(json.dumps(value, indent="\t").encode()) == value
    assert load_document(b"\xef\xbb\xbf" + json.dumps(value, ensure_ascii=False).encode()) == value


def test_several_documents_are_read_and_empty_ones_left_out() -> None:
    assert load_documents(b"---\n---\na: 1\n---\n\n---\nb: 2\n...\n") == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize(
    "value",
    [
        {"a": {1: 2}},
        {"a": (1, 2)},
        {"a": float("nan")},
        {"a": 2**63},
        {"a": b"x"},
        {"a": "\0"},
        {"a": ["x"] * 10_001},
    ],
)
def test_what_is_no_json_is_refused(value: object) -> None:
    with pytest.raises(Refused):
        check_json(value)


def test_a_cycle_is_refused() -> None:
    value: list[object] = []
    value.append(value)
    with pytest.raises(Refused, match="levels deep"):
        check_json(value)
