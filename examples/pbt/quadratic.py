"""One stint of training in the toy of the paper on population based training (Jaderberg et al.
2017, figure 2). Two weights w are trained towards 0, but a stint only sees one of them; what counts
is 1.2 - w0^2 - w1^2. So no setting that stays the same comes near 1.2: a schedule has to be found.

quadratic.py --weight first --lr 0.02
quadratic.py --weight first --lr 0.02 --checkpoint DIR     as scripts for Katib do it: DIR holds
                                                           what the parent left, and is written to
"""

import argparse
import json
import os
from pathlib import Path

STEPS = 20
BEGINNING = 0.9
FILE = "weights.json"


def load(own: Path, parent: str, trial: str) -> tuple[list[float], int]:
    """The weights, and how many steps of this stint are done: an attempt of this very trial may
    have been lost in the middle."""
    if (own / FILE).exists():
        saved = json.loads((own / FILE).read_text())
        return saved["weights"], saved["step"] if saved["trial"] == trial else 0
    if parent:
        return json.loads((Path(parent) / FILE).read_text())["weights"], 0
    return [BEGINNING, BEGINNING], 0


def save(own: Path, weights: list[float], step: int, trial: str) -> None:
    """Under another name first, so that a checkpoint is never half written."""
    partial = own / f"{FILE}.partial"
    partial.write_text(json.dumps({"weights": weights, "step": step, "trial": trial}))
    partial.replace(own / FILE)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--weight", choices=("first", "second"), required=True)
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument(
        "--checkpoint", help="default: TRIALBUS_CHECKPOINT, else the working folder"
    )
    args = parser.parse_args()
    own = Path(args.checkpoint or os.environ.get("TRIALBUS_CHECKPOINT", "."))
    # In a folder of Katib's is the parent's content already.
    parent = "" if args.checkpoint else os.environ.get("TRIALBUS_PARENT_CHECKPOINT", "")
    trial = os.environ.get("KATIB_TRIAL_NAME", "")

    weights, done = load(own, parent, trial)
    at = 0 if args.weight == "first" else 1
    for step in range(done, STEPS):
        weights[at] -= args.lr * 2 * weights[at]
        save(own, weights, step + 1, trial)
    print(f"quality={1.2 - weights[0] ** 2 - weights[1] ** 2:.6f}")


if __name__ == "__main__":
    main()
