"""The trainer behind the default trial template.

`python -m trialbus.local.trainers.digits --lr=0.02 --num-layers=3 --optimizer=adam` trains a small
neural network on the digits data set and prints one line per epoch in Katib's default metric
format: `epoch=3 Train-accuracy=0.9812 Validation-accuracy=0.9611`.

It saves its end in the folder TRIALBUS_CHECKPOINT, and goes on from the one that
TRIALBUS_PARENT_CHECKPOINT names: then --epochs counts the epochs of both.
"""

import os
import sys
from pathlib import Path

from trialbus.local.trainers.flags import Settings, parse_flags

# Read by numpy's linear algebra when it is loaded. The matrices are tiny: a second thread only
# takes a core away from the trial beside this one.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def main(arguments: list[str] | None = None) -> int:
    """Train and print. Returns 0, or 1 when the data set is missing; wrong flags exit with 2."""
    settings = parse_flags(sys.argv[1:] if arguments is None else arguments)
    for name, value in ONE_THREAD.items():
        os.environ.setdefault(name, value)
    return _train_and_print(settings)


def _train_and_print(settings: Settings) -> int:
    # Imported here because numpy must see the number of threads, and wrong flags need no numpy.
    import numpy as np  # noqa: PLC0415

    from trialbus.local.trainers.digits_data import DigitsMissingError, load_digits  # noqa: PLC0415
    from trialbus.local.trainers.snapshots import Snapshot, load, save  # noqa: PLC0415
    from trialbus.local.trainers.training import train  # noqa: PLC0415

    own, parent = _folder("TRIALBUS_CHECKPOINT"), _folder("TRIALBUS_PARENT_CHECKPOINT")

    def keep(snapshot: Snapshot) -> None:
        try:
            # It is of use to nobody else, and 200 kB for each trial.
            if own is not None and os.environ.get("TRIALBUS_HEIRS") != "no":
                save(own, snapshot)
        except OSError as error:
            # The accuracies are reported; only a trial after this one has to begin anew.
            sys.stderr.write(f"digits: no checkpoint is kept: {error}\n")

    try:
        digits = load_digits()
    except DigitsMissingError as error:
        sys.stderr.write(f"digits: {error}\n")
        return 1
    start: Snapshot | None = None
    if parent is not None:
        try:
            start = load(parent, settings)
        except ValueError as error:
            sys.stderr.write(f"digits: begins anew: {error}\n")
    # A rate that makes the weights overflow is a bad point, not a bug: its accuracy says so.
    with np.errstate(all="ignore"):
        for report in train(settings, digits, start, keep):
            sys.stdout.write(
                f"epoch={report.epoch} Train-accuracy={report.train_accuracy:.4f} "
                f"Validation-accuracy={report.validation_accuracy:.4f}\n"
            )
            sys.stdout.flush()
    return 0


def _folder(variable: str) -> Path | None:
    """Of a checkpoint; None: there is none, or it is a URI, which this program cannot reach."""
    given = os.environ.get(variable, "")
    if "://" in given:
        sys.stderr.write(f"digits: {variable} is a URI, and only folders are known here\n")
        return None
    return Path(given) if given else None


if __name__ == "__main__":
    sys.exit(main())
