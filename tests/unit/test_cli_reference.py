"""docs/reference/cli.md tells every command and every option, and none that is not there."""

import re
from collections.abc import Iterator, Mapping

import pytest
import typer.main

from trialbus.cli.main import app
from trialbus.testkit.programs import REPOSITORY

PAGE = (REPOSITORY / "docs/reference/cli.md").read_text(encoding="utf-8")
# Told once for all commands.
SHARED = {"--data-dir", "--url"}


def _commands() -> Mapping[str, set[str]]:
    """Command -> its options, all spellings."""
    group = typer.main.get_command(app)
    return {
        name: {
            spelling
            for parameter in command.params
            for spelling in parameter.opts
            if spelling.startswith("-")
        }
        for name, command in group.commands.items()  # type: ignore[attr-defined]
    }


def _sections(page: str) -> Mapping[str, str]:
    """Command -> its part of the page."""
    parts = re.split(r"^### `trialbus ([a-z]+)[^\n]*\n", page, flags=re.M)
    ends = [re.split(r"^## ", text, flags=re.M)[0] for text in parts[2::2]]
    return dict(zip(parts[1::2], ends, strict=True))


def _rows(section: str) -> set[str]:
    """The options in the first column of the section's tables."""
    cells = re.findall(r"^\| ([^|]*)\|", section, flags=re.M)
    return {option for cell in cells for option in re.findall(r"`(-[^`]*)`", cell)}


def _problems(commands: Mapping[str, set[str]], page: str) -> Iterator[str]:
    sections = _sections(page)
    yield from (f"no section for {name}" for name in commands.keys() - sections.keys())
    yield from (f"no command for {name}" for name in sections.keys() - commands.keys())
    for name in commands.keys() & sections.keys():
        own, told = commands[name] - SHARED, _rows(sections[name])
        yield from (f"{name}: {option} is not told" for option in own - told)
        yield from (f"{name}: {option} is not there" for option in told - own)


def test_the_page_tells_all_commands_and_options() -> None:
    problems = sorted(_problems(_commands(), PAGE))
    assert not problems, "\n".join(problems)


def test_all_commands_that_talk_to_a_stack_take_both_ways_to_it() -> None:
    without = {name for name, options in _commands().items() if not options >= SHARED}
    assert without == {"auth", "initiate", "provision", "serve", "version"}


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        (PAGE.replace("### `trialbus down`", "### down"), "no section for down"),
        (PAGE.replace("| `--tail` |", "| tail |"), "logs: --tail is not told"),
        (PAGE + "\n### `trialbus fly`\n", "no command for fly"),
        (PAGE.replace("| `--timeout` |", "| `--until` |"), "wait: --until is not there"),
    ],
)
def test_a_gap_in_the_page_is_found(page: str, problem: str) -> None:
    assert problem in set(_problems(_commands(), page))


def test_the_exit_codes_of_the_page_are_those_of_the_code() -> None:
    from trialbus.cli import failures

    told = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, flags=re.M)}
    names = ("OK", "FAILED", "REFUSED", "TIMED_OUT", "INTERRUPTED")
    assert told == {getattr(failures, name) for name in names}
