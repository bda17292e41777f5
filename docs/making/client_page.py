"""docs/reference/client.md, out of the client's own docstrings."""

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import trialbus

PAGE = Path(__file__).resolve().parents[2] / "docs/reference/client.md"
NOTE = "<!-- Made by docs/generate.py; `make generate` makes it again. -->\n"
INTRODUCTION = (
    "# Python client\n\n"
    "`import trialbus`. How to use it: [tune a function](../how-to/tune-a-function.md), "
    "[ask and tell](../how-to/ask-and-tell.md#python),\n"
    "[inside a trial](../how-to/tune-a-function.md#inside-any-trial). It is typed, loads each name "
    "when it is first used, and needs nothing but `pip install trialbus`\n"
    "(`tune` without an address also `trialbus[local]`). Every call may be made again after "
    "`Unavailable`: it is obeyed once.\n"
)
# Heading -> names, in the order of the page. Every public name stands in one of them.
SECTIONS: Mapping[str, tuple[str, ...]] = {
    "Tune a function": ("tune", "Result", "TunedTrial"),
    "Search spaces": ("uniform", "log", "integer", "choice"),
    "Inside any trial": ("report_metrics", "should_stop", "checkpoint_dir"),
    "Client": ("Client", "AsyncClient"),
    "Asked trials": ("AskedTrial", "AsyncAskedTrial"),
    "What the client answers": (
        "Applied", "Progress", "Best", "Trial", "Observed", "Series", "Event",
    ),
    "Errors": (
        "TrialbusError", "Unavailable", "Refused", "NotThere", "Conflict", "Unauthorised",
        "ServerFailed", "TimedOut", "LeaseLost", "ExperimentOver", "NothingTold", "NotInATrial",
        "TuneFailed",
    ),
}  # fmt: skip
# Their methods are those of the sync ones.
TWINS = {"AsyncClient": "Client", "AsyncAskedTrial": "AskedTrial"}


def client_page() -> dict[Path, str]:
    """Raises ValueError for a public name without a place or a docstring."""
    placed = [name for names in SECTIONS.values() for name in names]
    if sorted(placed) != sorted(trialbus.__all__):
        raise ValueError(f"in one only: {sorted(set(placed) ^ set(trialbus.__all__))}")
    parts = [NOTE, INTRODUCTION]
    for heading, names in SECTIONS.items():
        parts.append(f"\n## {heading}\n")
        parts += [text for name in names for text in _described(name)]
    return {PAGE: "".join(parts)}


def _described(name: str) -> Iterator[str]:
    value = getattr(trialbus, name)
    yield f"\n### {name}\n\n"
    if isinstance(value, type):
        yield from _of_class(name, value)
    else:
        yield f"```python\n{_signature(value, name)}\n```\n\n{_doc(value, name)}\n"


def _of_class(name: str, kind: type) -> Iterator[str]:
    if dataclasses.is_dataclass(kind):
        fields = ", ".join(f"`{field.name}`" for field in dataclasses.fields(kind))
        yield f"{_doc(kind, name)}\n\nFields: {fields}.\n"
    elif name in ("Client", "AsyncClient"):
        yield f"```python\n{_signature(vars(kind)['__init__'], name, drop_first=True)}\n```\n\n"
        yield f"{_doc(kind, name)}\n"
    else:
        yield f"{_doc(kind, name)}\n"
    if name not in TWINS and not issubclass(kind, BaseException):
        yield from _members(name, kind)


def _members(name: str, kind: type) -> Iterator[str]:
    for member in _own_members(kind):
        value = inspect.getattr_static(kind, member)
        if isinstance(value, property):
            yield f"\n- `{member}`: {_doc(value, f'{name}.{member}')}\n"
        elif inspect.isfunction(value):
            yield f"\n```python\n{_signature(value, member, drop_first=True)}\n```\n\n"
            yield f"{_doc(value, f'{name}.{member}')}\n"


def _own_members(kind: type) -> Iterator[str]:
    """Public ones, in the order of the source; of all classes of ours that it is made of."""
    for each in kind.__mro__:
        if each.__module__.startswith("trialbus"):
            yield from (it for it in vars(each) if not it.startswith("_"))


def _signature(function: Any, name: str, *, drop_first: bool = False) -> str:
    """As it stands in the source, on as many lines as it needs; without `self`."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    definition = tree.body[0]
    assert isinstance(definition, ast.FunctionDef)
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())[1 if drop_first else 0 :]
    words = [str(it) for it in parameters]
    kinds = [it.kind for it in parameters]
    if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        words.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    positional = sum(kind is inspect.Parameter.POSITIONAL_ONLY for kind in kinds)
    if positional:
        words.insert(positional, "/")
    returned = "" if definition.returns is None else f" -> {ast.unparse(definition.returns)}"
    returned = "" if name[:1].isupper() else returned
    words = [_plain(word) for word in words]
    line = f"{name}({', '.join(words)}){returned}"
    if len(line) <= 100:
        return line
    return "\n".join([f"{name}(", *(f"    {word}," for word in words), f"){returned}"])


def _plain(word: str) -> str:
    """A type by the name that users have for it."""
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", word).replace("os.PathLike", "PathLike")


def _doc(value: Any, name: str) -> str:
    text = inspect.getdoc(value)
    if not text:
        raise ValueError(f"{name} says nothing of itself")
    return text
