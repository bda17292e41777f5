"""Alerts on the room that is left on the disks of one machine."""

from making.rules.rule import Alert, Group, fires, silent
from making.rules.series import series

_FREE, _SIZE = "trialbus_folder_free_bytes", "trialbus_folder_size_bytes"
_OF_EACH = "min by (namespace, instance, folder)"
_SHARE = f"{_OF_EACH} ({_FREE} / {_SIZE})"
_DATA = {"folder": "data"}
_OF_ONE = {"instance": "a:1", **_DATA}


def _disk(free: str) -> dict[str, str]:
    """free: of 100 GB, in bytes."""
    found = series(_FREE, "trial_launcher", free, **_DATA)
    return found | series(_SIZE, "trial_launcher", "100e9x190", **_DATA)


DISK = Group(
    name="trialbus-disk",
    rules=(
        Alert(
            name="TrialbusDiskFilling",
            expr=f"{_SHARE} < 0.4 and {_OF_EACH} (predict_linear({_FREE}[1h], 6 * 3600)) < 0",
            severity="warning",
            # As long as that hour: one burst is seen in it for less.
            minutes=60,
            summary="The disk of {{ $labels.folder }} at {{ $labels.instance }} fills.",
            description="{{ $value | humanizePercentage }} of the disk of {{ $labels.folder }} is "
            "free, and at the pace of the last hour none of it will be in six hours.",
            cases=(
                # A gigabyte in five minutes.
                fires(_disk("39e9-2e8x120"), 75, _OF_ONE),
                # Four gigabytes at once every 20 minutes, as of checkpoints.
                fires(_disk("39e9x19 35e9x19 31e9x19 27e9x19 23e9x19 19e9x19"), 85, _OF_ONE),
                # A burst that is over: of a stack that was just started, and later.
                *(silent(_disk("39e9-1e9x5 34e9x115"), minute) for minute in (20, 90)),
                *(
                    silent(_disk("39e9x70 39e9-1e9x5 34e9x115"), minute)
                    for minute in (110, 120, 130)
                ),
                # There is much left.
                silent(_disk("90e9-2e8x120"), 90),
            ),
        ),
        Alert(
            name="TrialbusDiskNearlyFull",
            expr=f"{_SHARE} < 0.05",
            severity="critical",
            minutes=5,
            summary="The disk of {{ $labels.folder }} at {{ $labels.instance }} is nearly full.",
            description="{{ $value | humanizePercentage }} of the disk of {{ $labels.folder }} is "
            "free.",
            cases=(
                fires(_disk("10e9x10 3e9x60"), 20, _OF_ONE),
                silent(_disk("6e9x90"), 60),
                # Something large that is gone at once.
                silent(_disk("10e9x10 3e9x3 10e9x60"), 20),
            ),
        ),
    ),
)
