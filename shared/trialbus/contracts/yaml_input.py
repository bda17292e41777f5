"""Documents that people write, YAML or JSON, read with suspicion.

What comes out is plain JSON: dicts with text keys, lists, texts, finite numbers of 64 bits,
booleans, null. Scalars mean what they mean to kubectl (YAML 1.1 as Go reads it: `on` is true,
`0777` is octal, `1e3` is a number); dates stay texts. Aliases are copied out, under the limits on
the whole; tags, merge keys, repeated keys and keys that are no texts are refused, with line and
column.

Documents are built from the parser's events, without recursion, so that a hostile one is left as
soon as it passes a limit: under 250 ms and 64 MiB, whatever it holds.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.limits import MAX_PROBLEMS, MAX_YAML_BYTES, MAX_YAML_DEPTH, MAX_YAML_NODES

# The C parser, where PyYAML has it (all of its wheels do).
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_WORDS |= {w: True for t in ("true", "yes", "on") for w in (t, t.capitalize(), t.upper())}
_WORDS |= {w: False for t in ("false", "no", "off") for w in (t, t.capitalize(), t.upper())}
_INTEGER = re.compile(
    r"[-+]?(?:0b_*[01][01_]*|0x_*[0-9a-fA-F][0-9a-fA-F_]*|0o?_*[0-7][0-7_]*|[1-9][0-9_]*|0)",
    re.ASCII,
)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_NO_JSON = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_TAG_DIRECTIVE = re.compile(r"^%TAG", re.MULTILINE)
# Digits of an integer of 64 bits, written in binary with some underscores.
_MAX_INTEGER_CHARS = 100
_MAX_INTEGER = 2**63
_MAX_PATH_CHARS = 200
# JSON is read whole before its values can be counted; with more of these signs the parser of YAML
# reads it, which stops at the limit.
_MAX_JSON_MARKS = 2 * MAX_YAML_NODES

_QUOTE_IT = "write it in quotes if it is meant as text"


def load_document(data: bytes) -> dict[str, Any]:
    """The one document in `data`. Raises Refused with every problem, each with line and column."""
    documents = load_documents(data)
    if len(documents) > 1:
        _refuse(
            "", f"there are {len(documents)} documents, separated by ---, where one is expected"
        )
    return documents[0]


def load_documents(data: bytes) -> list[dict[str, Any]]:
    """The documents in `data`, at least one; empty ones are left out. Raises Refused."""
    text = _decode(data)
    found = _load_json(text)
    if found is None:
        found = _load_yaml(text)
    documents = [document for document in found if document is not None]
    if not documents:
        _refuse("", "the file is empty: one object with fields and values is expected")
    for document in documents:
        if not isinstance(document, dict):
            _refuse("", f"one object with fields and values is expected, not {_kind(document)}")
    return documents


def check_json(value: Any) -> None:
    """Refuse what `load_document` would never return: other types, keys that are no texts, more
    nodes, depth or text than the limits allow. For objects that came by another way."""
    budget = _Budget()
    for where, node, depth in _walk(value):
        budget.charge(where, depth)
        if isinstance(node, str):
            budget.charge_text(where, node)
        elif isinstance(node, dict):
            for key in node:
                if not isinstance(key, str):
                    _refuse(where, f"the key {key!r:.60} is not text")
                budget.charge_text(where, key)
        elif isinstance(node, bool | list) or node is None:
            continue
        elif isinstance(node, int | float):
            if not _is_json_number(node):
                _refuse(where, "numbers must be finite and whole ones must fit 64 bits")
        else:
            _refuse(where, f"{type(node).__name__} is no JSON value")


def _walk(value: Any) -> Iterator[tuple[str, Any, int]]:
    """Every node with its path and depth, without recursion. Cycles end at the caller's limits."""
    stack: list[tuple[str, Any, int]] = [("", value, 0)]
    while stack:
        path, node, depth = stack.pop()
        yield path, node, depth
        if isinstance(node, dict | list) and len(node) > MAX_YAML_NODES:
            _refuse(path, f"more than {MAX_YAML_NODES} values")
        if isinstance(node, dict):
            prefix = f"{path[:_MAX_PATH_CHARS]}." if path else ""
            stack += [(f"{prefix}{key!s:.60}", item, depth + 1) for key, item in node.items()]
        elif isinstance(node, list):
            prefix = path[:_MAX_PATH_CHARS]
            stack += [(f"{prefix}[{i}]", item, depth + 1) for i, item in enumerate(node)]


def _refuse(where: str, message: str) -> NoReturn:
    raise Refused([Problem(field=where, message=message)])


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "an object"
    return f"the text {value!r:.60}" if isinstance(value, str) else f"{json.dumps(value):.60}"


def _is_json_number(value: float) -> bool:
    if isinstance(value, int):
        return -_MAX_INTEGER <= value < _MAX_INTEGER
    return math.isfinite(value)


def _decode(data: bytes) -> str:
    if len(data) > MAX_YAML_BYTES:
        _refuse("", f"the file has {len(data)} bytes; at most {MAX_YAML_BYTES} are allowed")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        _refuse(f"line {line}", "the file is not UTF-8 text")
    if (at := text.find("\0")) >= 0:
        _refuse(_place(text, at), "a NUL character; the file must be text")
    if match := _TAG_DIRECTIVE.search(text):
        # The parser compares each with all before it: a file of them would take minutes.
        _refuse(_place(text, match.start()), "tags are not supported; leave %TAG out")
    return text


def _place(text: str, at: int) -> str:
    start = text.rfind("\n", 0, at)
    return f"line {text.count(chr(10), 0, at) + 1}, column {at - start}"


@dataclass(slots=True)
class _Budget:
    """What may still be read, over all documents of a file."""

    nodes: int = MAX_YAML_NODES
    chars: int = MAX_YAML_BYTES

    def charge(self, where: str, depth: int) -> None:
        self.nodes -= 1
        if self.nodes < 0:
            _refuse(where, f"more than {MAX_YAML_NODES} values, aliases written out")
        if depth > MAX_YAML_DEPTH:
            _refuse(where, f"nested more than {MAX_YAML_DEPTH} levels deep")

    def charge_text(self, where: str, text: str) -> None:
        self.chars -= len(text)
        if self.chars < 0:
            _refuse(where, f"more than {MAX_YAML_BYTES} characters, aliases written out")
        if "\0" in text:
            _refuse(where, "a NUL character in a text")
        if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
            _refuse(where, "half of a surrogate pair in a text")


def _load_json(text: str) -> list[Any] | None:
    """The document if it is JSON; None: let the YAML parser say what it is or what is wrong."""
    if not text.lstrip().startswith("{") or sum(map(text.count, ",[{")) > _MAX_JSON_MARKS:
        return None
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    check_json(value)
    return [value]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a key is repeated")
    return fields


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def _load_yaml(text: str) -> list[Any]:
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.YAMLError as exc:
        builder.problems.append(_syntax_problem(text, exc))
    if builder.problems:
        raise Refused(builder.problems[:MAX_PROBLEMS])
    return builder.documents


def _syntax_problem(text: str, exc: yaml.YAMLError) -> Problem:
    if isinstance(exc, yaml.reader.ReaderError):
        return Problem(field="", message=f"not YAML: {exc.reason}")
    mark = getattr(exc, "problem_mark", None)
    where = f"line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
    parts = [getattr(exc, "context", None), getattr(exc, "problem", None)]
    message = f"not YAML: {', '.join(part for part in parts if part) or 'unreadable'}"
    if mark is not None and any("\t" in line for line in text.split("\n")[mark.line :][:1]):
        message += "; YAML is indented with spaces, not tabs"
    return Problem(field=where, message=message)


@dataclass(slots=True)
class _Open:
    """A mapping or list that is being read. key: of a mapping, while its value is awaited;
    lost: that key was refused, so its value is read and dropped."""

    value: dict[str, Any] | list[Any]
    anchor: str | None
    key: str | None = None
    lost: bool = False


@dataclass(slots=True)
class _Builder:
    """Makes values of the parser's events. Goes on after what it can go on after."""

    documents: list[Any] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    _stack: list[_Open] = field(default_factory=list)
    _anchors: dict[str, Any] = field(default_factory=dict)
    _budget: _Budget = field(default_factory=_Budget)

    def take(self, event: Any) -> None:
        match event:
            case yaml.DocumentStartEvent():
                self._anchors.clear()
            case yaml.ScalarEvent():
                self._charge(event)
                self._budget.charge_text(_mark(event), event.value)
                self._take_scalar(event)
            case yaml.AliasEvent():
                self._take_alias(event)
            case yaml.SequenceStartEvent():
                self._open([], event)
            case yaml.MappingStartEvent():
                self._open({}, event)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                done = self._stack.pop()
                self._place(done.value, done.anchor)

    def _charge(self, event: Any) -> None:
        self._budget.charge(_mark(event), len(self._stack))
        if event.tag is not None:
            self._wrong(event, f"the tag {event.tag!r:.60} is not supported: leave it out")

    def _wrong(self, event: Any, message: str) -> None:
        self.problems.append(Problem(field=_mark(event), message=message))
        if len(self.problems) >= MAX_PROBLEMS:
            raise Refused(self.problems)

    def _wants_key(self) -> bool:
        if not self._stack:
            return False
        top = self._stack[-1]
        return isinstance(top.value, dict) and top.key is None

    def _open(self, value: dict[str, Any] | list[Any], event: Any) -> None:
        self._charge(event)
        if self._wants_key():
            self._wrong(event, f"{_kind(value)} as a key; keys must be texts")
            raise Refused(self.problems)
        if event.anchor is not None:
            self._anchors.pop(event.anchor, None)
        self._stack.append(_Open(value, event.anchor))

    def _take_scalar(self, event: Any) -> None:
        plain = event.implicit[0] and event.tag is None
        if self._wants_key():
            self._take_key(event, plain)
            return
        value = event.value
        if plain:
            try:
                value = _resolve(value)
            except ValueError as exc:
                self._wrong(event, str(exc))
        self._place(value, event.anchor)

    def _take_key(self, event: Any, plain: bool) -> None:
        top, key = self._stack[-1], event.value
        assert isinstance(top.value, dict)
        top.key, top.lost = key, True
        if event.anchor is not None:
            self._anchors[event.anchor] = key
        if plain and key == "<<":
            self._wrong(event, "merge keys (<<) are not supported: write the fields out")
        elif plain and not _is_plain_text(key):
            self._wrong(event, f'the key {key:.60} is not text: write "{key:.60}" in quotes')
        elif key in top.value:
            self._wrong(event, f"the key {key!r:.60} is given twice: keep one of them")
        else:
            top.lost = False

    def _take_alias(self, event: Any) -> None:
        name = event.anchor
        if name not in self._anchors:
            self._budget.charge(_mark(event), len(self._stack))
            self._wrong(event, f"the alias *{name:.60} stands for nothing that ends before it")
            raise Refused(self.problems)
        if self._wants_key():
            self._wrong(event, "an alias as a key: write the key out")
            raise Refused(self.problems)
        self._place(self._copy(self._anchors[name], _mark(event), len(self._stack)), None)

    def _copy(self, value: Any, where: str, depth: int) -> Any:
        """A copy on the account of the budget, which also bounds the recursion."""
        self._budget.charge(where, depth)
        if isinstance(value, str):
            self._budget.charge_text(where, value)
            return value
        if isinstance(value, list):
            return [self._copy(item, where, depth + 1) for item in value]
        if isinstance(value, dict):
            for key in value:
                self._budget.charge_text(where, key)
            return {key: self._copy(item, where, depth + 1) for key, item in value.items()}
        return value

    def _place(self, value: Any, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = value
        if not self._stack:
            self.documents.append(value)
            return
        top = self._stack[-1]
        if isinstance(top.value, list):
            top.value.append(value)
            return
        if not top.lost and top.key is not None:
            top.value[top.key] = value
        top.key, top.lost = None, False


def _mark(event: Any) -> str:
    mark = event.start_mark
    return f"line {mark.line + 1}, column {mark.column + 1}"


def _is_plain_text(text: str) -> bool:
    try:
        return isinstance(_resolve(text), str)
    except ValueError:
        return False


def _resolve(text: str) -> Any:
    """What a plain scalar means. ValueError: nothing that JSON can say."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        value = _integer(text)
        if value is None or not _is_json_number(value):
            raise ValueError(f"the integer {text:.60} does not fit 64 bits; {_QUOTE_IT}")
        return value
    if _FLOAT.fullmatch(text):
        number = float(text)
        if not math.isfinite(number):
            raise ValueError(f"the number {text:.60} is too large; {_QUOTE_IT}")
        return number
    if _NO_JSON.fullmatch(text):
        raise ValueError(f"{text} is no number that JSON can hold; {_QUOTE_IT}")
    return text


def _integer(text: str) -> int | None:
    """None: too long to be read at all."""
    digits = text.replace("_", "").lower()
    if len(digits) > _MAX_INTEGER_CHARS:
        return None
    body = digits.lstrip("+-")
    if body.startswith("0") and body.isdecimal():
        return int(digits, 8)
    return int(digits, 0)
