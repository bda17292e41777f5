"""The tutorials do what they say: their console blocks run in order, and print what they show.

In a block, a line `$ COMMAND` is run, and the lines up to the next are what it prints: a line `...`
stands for any number of lines, `...` within a line for any text, and blanks count as one.
A command that fails has to be followed by `$ echo $?`.
"""

import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import psutil
import pytest

from trialbus.testkit.programs import REPOSITORY, TRIALBUS, program_environ

BLOCK = re.compile(r"^```console\n(.*?)^```", re.M | re.S)
YAML_BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.M | re.S)
MARK = "---- command ended:"
PAGES = {
    "first-experiment": "examples/quick-start.yaml",
    "own-script": "examples/median-stop.yaml",
}
DEADLINE_S = 240.0
LOOKS = 30
LONG, SHORT = "--epochs=2000", "--epochs=400"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    command: str
    shown: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    printed: str
    code: int


def read_steps(page: str) -> list[Step]:
    """The commands of a page, each with what the page says that it prints."""
    steps = []
    for block in BLOCK.findall(page):
        assert block.startswith("$ "), block
        for text in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, shown = text.partition("\n")
            steps.append(Step(command=command, shown=shown))
    return steps


def shows(shown: str, printed: str) -> bool:
    """Whether `printed` is what the page shows."""
    pattern = ""
    for line in _lines(shown):
        if line == "...":
            pattern += r"(?:.*\n)*"
        else:
            pattern += ".*".join(re.escape(part) for part in line.split("...")) + r"\n"
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in _lines(printed))) is not None


def _lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.strip("\n").splitlines()]


def run_steps(steps: list[Step], folder: Path) -> list[Done]:
    """Run all in one shell, as a person would."""
    script = "".join(
        f'{{ {settled(step.command)}\n}} 2>&1; code=$?; echo "{MARK}$code"; (exit $code)\n'
        for step in steps
    )
    tools = _tools(folder / "bin")
    environ = program_environ(folder / "lib") | {"PATH": f"{tools}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash"],
        input=script,
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environ,
        timeout=DEADLINE_S,
        check=False,
    )
    parts = re.split(rf"^{MARK}(\d+)\n", done.stdout, flags=re.M)
    return [
        Done(printed=printed, code=int(code))
        for printed, code in zip(parts[::2], parts[1::2], strict=False)
    ]


def settled(command: str) -> str:
    """Events follow what is stored: they are listed once the last one is there."""
    if not command.startswith("trialbus events ") or "--follow" in command:
        return command
    looks = f"for _ in $(seq {LOOKS}); do {command} | grep -q experiment.succeeded && break; done"
    return f"{looks}; {command}"


def _tools(folder: Path) -> Path:
    """A folder with the commands `trialbus` and `python` of this very environment."""
    folder.mkdir(exist_ok=True)
    for name, command in (("trialbus", TRIALBUS), ("python", (sys.executable,))):
        file = folder / name
        file.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
        file.chmod(0o755)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Holds the examples; what still runs there at the end is ended."""
    shutil.copytree(REPOSITORY / "examples", tmp_path / "examples")
    # The long example in a fifth of its time: what it prints reads the same.
    example = tmp_path / "examples/median-stop.yaml"
    text = example.read_text()
    assert LONG in text
    example.write_text(text.replace(LONG, SHORT))
    yield tmp_path
    for process in psutil.process_iter(["cmdline"]):
        if any(str(tmp_path) in word for word in process.info["cmdline"] or ()):
            os.kill(process.pid, signal.SIGKILL)


@pytest.mark.servers
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", PAGES)
def test_the_page_does_what_it_says(name: str, folder: Path) -> None:
    steps = read_steps((REPOSITORY / f"docs/tutorial/{name}.md").read_text())
    done = run_steps(steps, folder)
    assert len(done) == len(steps)
    for i, (step, result) in enumerate(zip(steps, done, strict=True)):
        said = f"$ {step.command}\n{result.printed}"
        assert shows(step.shown, result.printed), f"{said}\n---- the page shows\n{step.shown}"
        tells_code = i + 1 < len(steps) and steps[i + 1].command == "echo $?"
        assert result.code == 0 or tells_code, said
    assert events_that_break_contracts(folder) == []


def events_that_break_contracts(folder: Path) -> list[str]:
    """Of all experiments that the page ran; whatever they said must be as proto/events has it."""
    validate = load_validate()
    listing = "trialbus get experiments -o json"
    steps = [Step(command=it, shown="") for it in ("trialbus up", listing)]
    objects = json.loads(run_steps(steps, folder)[1].printed)
    names = [it["metadata"]["name"] for it in objects["items"]]
    steps = [Step(command=f"trialbus events {name} --json", shown="") for name in names]
    told = run_steps([*steps, Step(command="trialbus down", shown="")], folder)
    events = [json.loads(line) for it in told[:-1] for line in it.printed.splitlines()]
    assert len(events) > 20
    return [problem for event in events for problem in validate.problems(event)]


def load_validate() -> ModuleType:
    path = REPOSITORY / "proto/events/validate.py"
    spec = importlib.util.spec_from_file_location("validate", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("name", "example"), PAGES.items())
def test_the_page_shows_the_example_as_it_is(name: str, example: str) -> None:
    page = (REPOSITORY / f"docs/tutorial/{name}.md").read_text()
    texts = [file.read_text() for file in (REPOSITORY / "examples").rglob("*.yaml")]
    blocks = YAML_BLOCK.findall(page)
    assert [block for block in blocks if not any(block in text for text in texts)] == []
    assert any(block in (REPOSITORY / example).read_text() for block in blocks)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("a 0.1... b\n", "a    0.123 b\n"),
        ("...\nb\n...\n", "b\n"),
        ("a\n...\nc\n", "a\nx\ny\nc\n"),
        ("", ""),
    ],
)
def test_what_the_page_shows_is_found(shown: str, printed: str) -> None:
    assert shows(shown, printed)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [("a\n", "a\nb\n"), ("a\n", ""), ("", "a\n"), ("a...\n", "a\nb\n"), ("...\nb\n", "b\nc\n")],
)
def test_what_the_page_does_not_show_is_found(shown: str, printed: str) -> None:
    assert not shows(shown, printed)


def test_commands_run_in_one_shell_and_keep_their_codes(tmp_path: Path) -> None:
    page = "```console\n$ a=1\n$ (exit 3)\n$ echo $? $a\n3 1\n```\n```sh\n$ no\n```\n"
    steps = read_steps(page)
    assert [step.command for step in steps] == ["a=1", "(exit 3)", "echo $? $a"]
    done = run_steps(steps, tmp_path)
    assert [it.code for it in done] == [0, 3, 0]
    assert shows(steps[2].shown, done[2].printed)
