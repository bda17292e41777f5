"""`python -m loadtests.load [SCENARIO ...]`: run scenarios, keep what was measured, write the page.

Exit code 1: a limit is missed. Tries (`--scale`, `--seconds`) go to build/load and are judged by
what they can measure.
"""

import argparse
import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from loadtests.load import profiling, report, results
from loadtests.load.report import judged
from loadtests.load.results import Run
from loadtests.load.running import BENCH_PYTHON, ROOT, LoadFailed, Options, run
from loadtests.load.scenario import Scenario, chosen

TRIES = ROOT / "build" / "load"
_OWN_LINE = "--background"


def main(arguments: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(words)
    try:
        scenarios = chosen(options.scenario)
    except KeyError as error:
        print(error.args[0], file=sys.stderr)
        return 2
    if options.background:
        return _in_background([word for word in words if word != _OWN_LINE])
    if options.report:
        for it in chosen([]):
            if results.newest(it):
                draw(results.FOLDER, it.name, report.PAGE.parent)
        write_page()
        return 0
    try:
        kept = [_measure(it, options) for it in scenarios]
    except LoadFailed as error:
        print(error, file=sys.stderr)
        return 3
    return 0 if all(kept) or options.report_only else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtests.load", description=__doc__)
    parser.add_argument("scenario", nargs="*", help="which (default: all)")
    parser.add_argument("--runs", type=int, help="runs of each (default: as the scenario says)")
    parser.add_argument("--scale", type=float, default=1.0, help="fewer people and trials: a try")
    parser.add_argument("--seconds", type=float, help="how long people call: a try")
    parser.add_argument("--profile", action="store_true", help="look into services with py-spy")
    parser.add_argument("--report", action="store_true", help="write the page, run nothing")
    parser.add_argument("--report-only", action="store_true", help="exit 0 if a limit is missed")
    parser.add_argument(_OWN_LINE, action="store_true", help="go on without this terminal")
    return parser


def _measure(scenario: Scenario, options: argparse.Namespace) -> bool:
    """Whether all limits are kept."""
    is_smaller = options.scale != 1.0 or options.seconds is not None
    # Looking into services costs time: its figures are none for the page.
    is_try = is_smaller or options.profile
    count = options.runs or (1 if is_try else scenario.runs)
    how = Options(
        scale=options.scale,
        seconds=options.seconds,
        profiles=_profiles(is_smaller) if options.profile else None,
    )
    runs = []
    for number in range(count):
        print(f"{scenario.name}: run {number + 1} of {count}", file=sys.stderr, flush=True)
        runs.append(asyncio.run(run(scenario, how)))
        results.add(runs[-1], TRIES if is_try else results.FOLDER)
        if not is_try:
            draw(results.FOLDER, scenario.name, report.PAGE.parent)
            write_page()
    if options.profile:
        page = TRIES / "profiles.md" if is_smaller else profiling.PAGE
        page.write_text(profiling.page(_profiles(is_smaller)))
    if is_try:
        draw(TRIES, scenario.name, TRIES)
        (TRIES / f"{scenario.name}.md").write_text(_said(scenario, runs))
    print(_said(scenario, runs), flush=True)
    verdicts = [it.kept for it in judged(scenario, runs)]
    return all(kept or (kept is None and is_try) for kept in verdicts)


def _profiles(is_smaller: bool) -> Path:
    return TRIES / "profiles" if is_smaller else profiling.FOLDER


def _said(scenario: Scenario, runs: Sequence[Run]) -> str:
    return report.section(scenario, runs, f"load-{scenario.name}.svg")


def write_page() -> None:
    """From the runs that are there."""
    scenarios = chosen([])
    report.PAGE.write_text(
        report.page(scenarios, {it.name: results.newest(it) for it in scenarios})
    )


def draw(folder: Path, scenario: str, target: Path) -> None:
    """The last run."""
    runs, plot = folder / f"{scenario}.jsonl", target / f"load-{scenario}.svg"
    words = [str(BENCH_PYTHON), "-m", "loadtests.load.plots", str(runs), str(plot)]
    subprocess.run(words, cwd=ROOT, check=True)


def _in_background(words: Sequence[str]) -> int:
    """In a session of its own, which a terminal that is closed does not end."""
    TRIES.mkdir(parents=True, exist_ok=True)
    log = TRIES / "background.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "loadtests.load", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    print(f"process {process.pid}; what it says: {log}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
