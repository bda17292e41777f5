"""Where the program `trialbus` begins: services without the command line's libraries."""

import subprocess
import sys
from pathlib import Path

import pytest

from trialbus.cli import entry, secret_files
from trialbus.cli.failures import CommandFailed

# A module that is None cannot be imported, nor found.
WITHOUT_TYPER = """
import sys
sys.modules["typer"] = None
from trialbus.cli import entry
entry.main()
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_TYPER, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "service"),
    [
        (["serve", "gateway"], "gateway"),
        (["serve", "--help"], None),
        (["serve"], None),
        (["serve", "gateway", "--die-with-parent"], None),
        (["get", "experiments"], None),
        ([], None),
    ],
)
def test_a_plain_serve_is_told_from_all_else(arguments: list[str], service: str | None) -> None:
    assert entry.service_of(arguments) == service


def test_services_are_served_without_the_command_lines_libraries() -> None:
    done = run("serve", "no-such-service")
    assert done.returncode == 2
    assert "no service 'no-such-service' is installed (installed: " in done.stderr
    assert "gateway" in done.stderr


def test_what_needs_the_command_lines_libraries_says_so_where_they_are_missing() -> None:
    done = run("get", "experiments")
    assert done.returncode == 2
    assert done.stderr == "only `trialbus serve` works here: the rest needs 'trialbus[cli]'\n"


def test_a_token_may_lie_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("tbs_abc\n")
    assert secret_files.token_of({"TRIALBUS_TOKEN_FILE": str(file)}) == "tbs_abc"
    assert secret_files.token_of({}) is None
    with pytest.raises(CommandFailed, match="No such file"):
        secret_files.token_of({"TRIALBUS_TOKEN_FILE": str(tmp_path / "gone")})
