"""`python -m loadtests.quality [--slice NAME]`: runs what is missing, then writes the report.

Exit code: 0 all bars are met; 1 one is not; 3 runs are still missing.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

# Before numpy is loaded here or in the processes: each works on one core.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

from loadtests.quality import report  # noqa: E402
from loadtests.quality.results import FOLDER, Job, Results  # noqa: E402
from loadtests.quality.running import run_missing  # noqa: E402
from loadtests.quality.slices import SLICES, Slice, all_entrants  # noqa: E402

PAGES = Path(__file__).parents[2] / "docs" / "benchmarks"
# Comparisons of another kind: a module with `run(out)`, which writes a page into the folder.
OTHERS = {"rungs": "rungs", "enas": "architectures"}
BARS_MISSED, RUNS_MISSING = 1, 3


def main() -> int:
    arguments = _parser().parse_args()
    names = arguments.slice or [it.name for it in SLICES]
    results = Results(arguments.results)
    missing = 0
    for chosen in (it for it in SLICES if it.name in names and not arguments.report):
        jobs = [job for job in chosen.jobs() if arguments.task in job.task]
        missing += _run(chosen, jobs, results, arguments)
    for name in (it for it in OTHERS if it in names):
        _other(name)(arguments.pages)
    missed = report.write(Results(arguments.results), arguments.pages)
    print("\n".join(missed) or "every bar that has its runs is met")
    if missing:
        print(f"{missing} runs are missing: the same command goes on with them")
        return RUNS_MISSING
    return BARS_MISSED if missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtests.quality", description=__doc__)
    known = [*(it.name for it in SLICES), *OTHERS]
    parser.add_argument(
        "--slice", action="append", choices=known, help="one of the slices (default: all tables')"
    )
    parser.add_argument("--task", default="", help="only tasks with this in their names")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    parser.add_argument(
        "--time-limit", type=float, default=60, help="minutes for each slice (default 60)"
    )
    parser.add_argument("--report", action="store_true", help="run nothing, write the report")
    parser.add_argument("--results", type=Path, default=FOLDER, help="folder of the JSON lines")
    parser.add_argument("--pages", type=Path, default=PAGES, help="folder of the report")
    return parser


def _run(
    chosen: Slice, jobs: Sequence[Job], results: Results, arguments: argparse.Namespace
) -> int:
    absent = absent_packages(chosen.entrants)
    if absent:
        print(f"{chosen.name}: skipped, without {', '.join(absent)}", file=sys.stderr)
        return 0
    print(f"{chosen.name}: begun at {time.strftime('%H:%M:%S')}", file=sys.stderr)
    seconds = arguments.time_limit * 60
    return run_missing(jobs, results, workers=arguments.workers, seconds=seconds)


def absent_packages(names: Iterable[str]) -> list[str]:
    entrants = (entrant for entrant in all_entrants() if entrant.name in set(names))
    return sorted({package for entrant in entrants for package in entrant.missing()})


def _other(name: str) -> Callable[[Path], None]:
    module = f"loadtests.quality.{OTHERS[name]}"
    if find_spec(module) is None:
        raise SystemExit(f"there is no {module}")
    run: Callable[[Path], None] = import_module(module).run
    return run


if __name__ == "__main__":
    sys.exit(main())
