"""Calls and handlers that the style forbids: sleeps in tests, silent excepts, impure cores."""

import ast
import re
from collections.abc import Iterator, Mapping

import pytest

# A wait with a deadline may sleep between two looks, in the testkit only, when the line says so.
DEADLINE_WAIT = "# tidy: deadline wait"
ASYNC = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)
SLEEPERS = {"time", "asyncio", "anyio"}
PURE = re.compile(r"shared/trialbus/kernel/|services/\w+/trialbus_\w+/core/")
WALL_CLOCKS = {"now", "utcnow", "today"}
IMPURE_BUILTINS = {"open", "print", "input"}
# Without a seed these draw one from the machine.
SEEDED = {"Random", "SystemRandom", "default_rng", "RandomState", "check_random_state"}


def sleeps(path: str, text: str) -> Iterator[str]:
    """Sleeping calls in tests and testkit. Programs that tests run as trials may sleep."""
    testkit = path.startswith("shared/trialbus/testkit/")
    if not (testkit or path.startswith("tests/")) or path.startswith("tests/data/"):
        return
    tree = ast.parse(text)
    bare = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in SLEEPERS
        for alias in node.names
        if alias.name == "sleep"
    }
    lines = text.splitlines()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not _is_sleep(node, bare):
            continue
        if not (testkit and DEADLINE_WAIT in lines[node.lineno - 1]):
            yield f"{path}:{node.lineno}: wait for a condition with a deadline, do not sleep"


def _is_sleep(call: ast.Call, bare: set[str]) -> bool:
    yields_once = [ast.dump(a) for a in call.args] == [ast.dump(ast.Constant(0))]
    match call.func:
        case ast.Attribute(attr="sleep", value=ast.Name(id=module)) if module in SLEEPERS:
            return not yields_once
        case ast.Name(id=name) if name in bare:
            return not yields_once
    return False


def silent_excepts(path: str, text: str) -> Iterator[str]:
    """Handlers that name nothing or say nothing, and broad suppressions."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ExceptHandler):
            if node.type is None:
                yield f"{path}:{node.lineno}: bare except"
            if all(_says_nothing(statement) for statement in node.body):
                yield f"{path}:{node.lineno}: silent except"
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
            broad = {"Exception", "BaseException"} & {ast.unparse(a) for a in node.args}
            if broad:
                yield f"{path}:{node.lineno}: suppresses everything"


def _says_nothing(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Pass):
        return True
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def impurities(path: str, text: str) -> Iterator[str]:
    """What import contracts cannot see in kernel and cores."""
    if not PURE.match(path):
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ASYNC):
            yield f"{path}:{node.lineno}: async in a pure module"
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from _type_imports(path, node)
        elif isinstance(node, ast.Call):
            problem = _impure_call(node)
            if problem:
                yield f"{path}:{node.lineno}: {problem}"


def _impure_call(call: ast.Call) -> str | None:
    name = ast.unparse(call.func)
    last = name.rpartition(".")[2]
    if name in IMPURE_BUILTINS:
        return f"{name}() in a pure module"
    if last in WALL_CLOCKS and re.search(r"\b(datetime|date)\.", name):
        return f"{name}() reads the clock"
    if last in SEEDED and not call.args and not call.keywords:
        return f"{name}() without a seed"
    return None


def _type_imports(path: str, block: ast.If) -> Iterator[str]:
    """The import contracts skip type-only imports: here they may name random, and pure modules."""
    for node in ast.walk(block):
        match node:
            case ast.Import(names=aliases, lineno=line):
                names = [alias.name for alias in aliases]
            case ast.ImportFrom(module=str(module), lineno=line):
                names = [module]
            case _:
                continue
        for name in names:
            if re.match(r"trialbus(?!\.kernel)", name) and ".core" not in name:
                yield f"{path}:{line}: imports {name} for its types"


def test_no_test_sleeps(python_sources: Mapping[str, str]) -> None:
    problems = [p for path, text in python_sources.items() for p in sleeps(path, text)]
    assert not problems, "\n".join(problems)


def test_no_except_is_bare_or_silent(python_sources: Mapping[str, str]) -> None:
    problems = [p for path, text in python_sources.items() for p in silent_excepts(path, text)]
    assert not problems, "\n".join(problems)


def test_kernel_and_cores_are_pure(python_sources: Mapping[str, str]) -> None:
    problems = [p for path, text in python_sources.items() for p in impurities(path, text)]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("tests/unit/test_a.py", "import time\ntime.sleep(1)"),
        ("tests/unit/test_a.py", "import asyncio\nasync def f():\n  await asyncio.sleep(0.1)"),
        ("tests/unit/test_a.py", "from asyncio import sleep as nap\nnap(1)"),
        ("tests/unit/test_a.py", "import time\ntime.sleep(1)  # tidy: deadline wait"),
        ("shared/trialbus/testkit/waits.py", "import time\ntime.sleep(1)"),
    ],
)
def test_a_sleep_is_found(path: str, text: str) -> None:
    assert list(sleeps(path, text))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("shared/trialbus/testkit/waits.py", "import time\ntime.sleep(1)  # tidy: deadline wait"),
        ("tests/unit/test_a.py", "import asyncio\nasync def f():\n  await asyncio.sleep(0)"),
        ("tests/data/trials/hangs.py", "import time\ntime.sleep(1)"),
        ("shared/trialbus/runtime/sweep.py", "import asyncio\nasyncio.sleep(1)"),
    ],
)
def test_an_allowed_sleep_passes(path: str, text: str) -> None:
    assert not list(sleeps(path, text))


@pytest.mark.parametrize(
    "text",
    [
        "try:\n  f()\nexcept:\n  raise",
        "try:\n  f()\nexcept KeyError:\n  pass",
        "try:\n  f()\nexcept KeyError:\n  ...",
        "with contextlib.suppress(Exception):\n  f()",
    ],
)
def test_a_bare_or_silent_except_is_found(text: str) -> None:
    assert list(silent_excepts("a.py", text))


def test_a_narrow_suppression_and_a_handler_that_acts_pass() -> None:
    text = "with contextlib.suppress(KeyError):\n  f()\ntry:\n  f()\nexcept KeyError:\n  g()"
    assert not list(silent_excepts("a.py", text))


@pytest.mark.parametrize(
    "text",
    [
        "async def f(): ...",
        "open('a')",
        "datetime.now(UTC)",
        "datetime.date.today()",
        "rng = random.Random()",
        "rng = np.random.default_rng()",
        "if TYPE_CHECKING:\n  from trialbus.ports.store import Store",
    ],
)
def test_an_impurity_is_found(text: str) -> None:
    assert list(impurities("services/suggestion/trialbus_suggestion/core/decide.py", text))
    assert list(impurities("shared/trialbus/kernel/ids.py", text))
    assert not list(impurities("services/suggestion/trialbus_suggestion/app/handle.py", text))
