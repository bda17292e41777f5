"""Every test can fail, and every test module can be named alone."""

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

import pytest

# Calls that fail the test by themselves; so do functions whose name starts so.
CHECKS = {"raises", "fail", "warns", "until", "until_sync", "run_state_machine_as_test"}
CHECKING_PREFIXES = ("assert_", "check_", "expect_")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def unchecked_tests(path: str, text: str) -> Iterator[str]:
    """Test functions that assert nothing, themselves or through functions of their module."""
    tree = ast.parse(text)
    functions = [n for n in ast.walk(tree) if isinstance(n, Function)]
    checking = {f.name for f in functions if _checks(f)}
    # A function that calls a checking one checks too; repeat until nothing is added.
    while True:
        more = {f.name for f in functions if _called(f) & checking} - checking
        if not more:
            break
        checking |= more
    for function in functions:
        if function.name.startswith("test") and function.name not in checking:
            yield f"{path}:{function.lineno}: {function.name} asserts nothing"


def _checks(function: Function) -> bool:
    if any(isinstance(node, ast.Assert) for node in ast.walk(function)):
        return True
    called = _called(function)
    return bool(called & CHECKS) or any(name.startswith(CHECKING_PREFIXES) for name in called)


def _called(function: Function) -> set[str]:
    calls = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
    return {ast.unparse(func).rpartition(".")[2] for func in calls}


def doubled_names(paths: list[str]) -> list[str]:
    """Names of test modules that are there twice, and packages among the tests."""
    names = [PurePosixPath(path).name for path in paths if path.startswith("tests/")]
    tests = Counter(name for name in names if name.startswith("test_"))
    doubled = [f"{name}: {count} modules" for name, count in tests.items() if count > 1]
    return doubled + [name for name in names if name == "__init__.py"]


def test_every_test_asserts_something(python_sources: Mapping[str, str]) -> None:
    problems = [
        problem
        for path, text in python_sources.items()
        if PurePosixPath(path).name.startswith("test_") and path.startswith("tests/")
        for problem in unchecked_tests(path, text)
    ]
    assert not problems, "\n".join(problems)


def test_the_names_of_test_modules_are_unique(python_sources: Mapping[str, str]) -> None:
    assert doubled_names(list(python_sources)) == []


@pytest.mark.parametrize(
    "text",
    [
        "def test_a():\n  f()",
        "class TestA:\n  async def test_a(self):\n    await f()",
        "def f():\n  return 1\ndef test_a():\n  f()",
    ],
)
def test_a_test_that_asserts_nothing_is_found(text: str) -> None:
    assert list(unchecked_tests("tests/unit/test_a.py", text))


@pytest.mark.parametrize(
    "text",
    [
        "def test_a():\n  assert f()",
        "def test_a():\n  with pytest.raises(KeyError):\n    f()",
        "def g():\n  f()\ndef f():\n  assert 1\ndef test_a():\n  g()",
        "def test_a():\n  world.assert_settled()",
    ],
)
def test_a_test_that_asserts_passes(text: str) -> None:
    assert not list(unchecked_tests("tests/unit/test_a.py", text))


def test_a_doubled_name_and_a_package_are_found() -> None:
    paths = ["tests/unit/test_a.py", "tests/e2e/test_a.py", "tests/unit/__init__.py"]
    assert doubled_names(paths) == ["test_a.py: 2 modules", "__init__.py"]
