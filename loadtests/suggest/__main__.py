"""`python -m loadtests.suggest [ALGORITHM ...]`: measures, prints and writes the page.

Exit code: 0 all bars are kept; 1 one is not. With some algorithms only, nothing is written.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

# Before numpy is loaded: one core for ours and for the peers.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

from loadtests.suggest.bars import MEMORY_BAR_MB, REPLAYED_TRIALS, SUBJECTS  # noqa: E402
from loadtests.suggest.memory import Footprint, grid_of_a_million, in_a_process  # noqa: E402
from loadtests.suggest.page import page, write  # noqa: E402
from loadtests.suggest.peers import PEERS  # noqa: E402
from loadtests.suggest.timing import Row, race  # noqa: E402

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks" / "suggest.md"


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.suggest", description=__doc__)
    parser.add_argument("--points", type=int, default=21, help="points per figure (default 21)")
    parser.add_argument("--sizes", type=int, default=10**6, help="at most so many finished trials")
    parser.add_argument(
        "--peer-seconds", type=float, default=30, help="at most so long for a peer's figure"
    )
    parser.add_argument(
        "--trials", type=int, default=REPLAYED_TRIALS, help="for memory and restarts"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-peers", action="store_true", help="ours alone")
    parser.add_argument("--page", type=Path, help="where to write (default: the documentation)")
    parser.add_argument("algorithm", nargs="*", help="some of those with a bar (default: all)")
    arguments = parser.parse_args(given)
    unknown = set(arguments.algorithm) - {subject.name for subject in SUBJECTS}
    if unknown:
        parser.error(f"nothing is measured of {', '.join(sorted(unknown))}")
    if not arguments.no_peers and find_spec("optuna") is None:
        parser.error("the peers are not installed here: make bench-suggest, or --no-peers")
    load = os.getloadavg()
    chosen = [it for it in SUBJECTS if not arguments.algorithm or it.name in arguments.algorithm]
    peers = {} if arguments.no_peers else PEERS
    rows = [
        row
        for subject in chosen
        for row in race(
            subject,
            peers,
            sizes=arguments.sizes,
            points=arguments.points,
            peer_s=arguments.peer_seconds,
            seed=arguments.seed,
        )
    ]
    footprints = [in_a_process(subject.name, arguments.trials) for subject in chosen]
    text = page(rows, footprints, grid_of_a_million(), seed=arguments.seed, load=load)
    print(text)
    complete = not arguments.algorithm and not arguments.no_peers
    if arguments.page or complete:
        write(text, arguments.page or PAGE)
    return 0 if _kept(rows, footprints) else 1


def _kept(rows: Sequence[Row], footprints: Sequence[Footprint]) -> bool:
    return all(row.kept for row in rows) and all(it.held_mb <= MEMORY_BAR_MB for it in footprints)


if __name__ == "__main__":
    sys.exit(main())
