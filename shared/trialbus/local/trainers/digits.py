"""The trainer behind the default trial template.

`python -m trialbus.local.trainers.digits --lr=0.02 --num-layers=3 --optimizer=adam` trains a small
neural network on the digits data set and prints one line per epoch in Katib's default metric
format: `epoch=3 Train-accuracy=0.9812 Validation-accuracy=0.9611`.
"""

import os
import sys

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
    from trialbus.local.trainers.training import train  # noqa: PLC0415

    try:
        digits = load_digits()
    except DigitsMissingError as error:
        sys.stderr.write(f"digits: {error}\n")
        return 1
    # A rate that makes the weights overflow is a bad point, not a bug: its accuracy says so.
    with np.errstate(all="ignore"):
        for report in train(settings, digits):
            sys.stdout.write(
                f"epoch={report.epoch} Train-accuracy={report.train_accuracy:.4f} "
                f"Validation-accuracy={report.validation_accuracy:.4f}\n"
            )
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
