"""Modules, functions and lines stay small; module names say what is inside."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

import pytest

MODULE_LINES = 400
FUNCTION_LINES = 60
LINE_CHARACTERS = 100
# A name that says nothing lets a module collect anything.
EMPTY_NAMES = {"util", "utils", "common", "helper", "helpers", "manager", "managers", "misc"}


def module_problems(path: str, text: str) -> Iterator[str]:
    """What is too long in one module, and whether its name is an empty one."""
    lines = text.splitlines()
    if len(lines) > MODULE_LINES:
        yield f"{path}: {len(lines)} lines, {MODULE_LINES} at most"
    for number, line in enumerate(lines, start=1):
        if len(line) > LINE_CHARACTERS:
            yield f"{path}:{number}: {len(line)} characters, {LINE_CHARACTERS} at most"
    words = {word for part in PurePosixPath(path).with_suffix("").parts for word in part.split("_")}
    for word in sorted(words & EMPTY_NAMES):
        yield f"{path}: '{word}' says nothing in a module's name"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = function_lines(node)
            if length > FUNCTION_LINES:
                where = f"{path}:{node.lineno}: {node.name}"
                yield f"{where} has {length} lines, {FUNCTION_LINES} at most"


def function_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, without the docstring."""
    length = (node.end_lineno or node.lineno) - node.lineno + 1
    if ast.get_docstring(node) is not None:
        docstring = node.body[0]
        length -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
    return length


def test_modules_and_functions_stay_within_the_sizes(python_sources: Mapping[str, str]) -> None:
    problems = [p for path, text in python_sources.items() for p in module_problems(path, text)]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    ("path", "text", "problem"),
    [
        ("a/states.py", "x = 1\n" * 401, "401 lines"),
        ("a/states.py", f"x = '{'y' * 95}'\n", "101 characters"),
        ("a/utils.py", "", "'utils' says nothing"),
        ("a/run_helpers.py", "", "'helpers' says nothing"),
        ("a/common/states.py", "", "'common' says nothing"),
        ("a/states.py", "def f():\n" + "    x = 1\n" * 60, "f has 61 lines"),
        ("a/states.py", "class A:\n  async def f(self):\n" + "    x = 1\n" * 60, "f has 61 lines"),
    ],
)
def test_a_breach_of_size_or_name_is_found(path: str, text: str, problem: str) -> None:
    assert [p for p in module_problems(path, text) if problem in p]


def test_what_is_just_within_the_sizes_passes() -> None:
    docstring = '    """One.\n' + "    more\n" * 30 + '    """\n'
    function = "def f():\n" + docstring + "    x = 1\n" * 59
    text = function + f"x = '{'y' * 94}'\n" + "x = 1\n" * (400 - len(function.splitlines()) - 1)
    assert list(module_problems("a/commonly.py", text)) == []
