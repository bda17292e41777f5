"""The sync and the async client are one surface, which is light to import and fully exported."""

import inspect
import re
import statistics
import subprocess
import sys
import time
from typing import Any

import pytest

import trialbus
from trialbus.client.asked import AskedTrial
from trialbus.client.async_asked import AsyncAskedTrial
from trialbus.client.async_client import AsyncClient
from trialbus.client.client import Client

HEAVY = ("nats", "motor", "pymongo", "grpc", "starlette", "numpy", "pandas", "httpx", "pydantic")
IMPORT_S = 0.150
# What differs by nature: `with` and `async with`.
TWINS = {"__aenter__": "__enter__", "__aexit__": "__exit__"}


def surface(kind: type) -> dict[str, list[tuple[str, Any, Any]]]:
    """Name -> parameters with kind and default, of all that users call."""
    found: dict[str, list[tuple[str, Any, Any]]] = {}
    for name, member in inspect.getmembers(kind, inspect.isroutine):
        if name.startswith("_") and name != "__init__" and name not in (*TWINS, *TWINS.values()):
            continue
        parameters = inspect.signature(member).parameters.values()
        own = [(it.name, it.kind, it.default) for it in parameters]
        found[TWINS.get(name, name)] = own
    return found


@pytest.mark.parametrize(("sync", "other"), [(Client, AsyncClient), (AskedTrial, AsyncAskedTrial)])
def test_the_async_surface_is_the_sync_one(sync: type, other: type) -> None:
    of_sync, of_async = surface(sync), surface(other)
    assert len(of_sync) >= 8
    assert of_async == of_sync


def test_what_blocks_in_one_is_awaited_in_the_other() -> None:
    plain = {"__init__", "ask", "work_on"}
    for name in surface(Client):
        member = getattr(AsyncClient, {v: k for k, v in TWINS.items()}.get(name, name))
        waits = inspect.iscoroutinefunction(member) or inspect.isasyncgenfunction(member)
        assert waits is (name not in plain), name


def test_every_name_is_there_and_in_the_list_of_types() -> None:
    source = inspect.getsource(trialbus)
    typed = re.findall(r"^    from \S+ import (\w+) as \1$", source, re.M)
    assert sorted(typed) == trialbus.__all__
    assert set(trialbus.__all__) <= set(dir(trialbus))
    for name in trialbus.__all__:
        assert getattr(trialbus, name) is not None
    with pytest.raises(AttributeError, match="nothing_of_ours"):
        _ = trialbus.nothing_of_ours


def loaded_by(statement: str) -> set[str]:
    program = f"{statement}\nimport sys; print(*(n for n in sys.modules if '.' not in n))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "but_for"),
    [
        ("import trialbus", ()),
        ("from trialbus import report_metrics, checkpoint_dir, should_stop", ()),
        ("from trialbus import Client, AsyncClient, tune", ("pydantic",)),
        ("import trialbus.cli.main", ()),
    ],
)
def test_importing_it_loads_nothing_heavy(statement: str, but_for: tuple[str, ...]) -> None:
    assert not loaded_by(statement) & (set(HEAVY) - set(but_for))


@pytest.mark.alone
def test_importing_it_takes_little_time() -> None:
    def seconds(statement: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", statement], check=True, timeout=60)
        return time.perf_counter() - began

    bare = statistics.median(seconds("pass") for _ in range(5))
    ours = statistics.median(seconds("import trialbus") for _ in range(5))
    assert ours - bare < IMPORT_S
