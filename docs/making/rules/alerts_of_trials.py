"""Alerts on attempts of trials and on what they report."""

from making.rules.rule import Alert, Group, fires, silent
from making.rules.series import series

_RUNS = "trialbus_runs"
_SPAWN = "trialbus_spawn_failures_total"
_LOST = "trialbus_attempts_lost_total"
_OPENED = "trialbus_trials_opened_total"
_LEASES = "trialbus_lease_losses_total"
_INCOMPLETE = "trialbus_metrics_incomplete_total"
_REFUSED = "trialbus_metric_points_refused_total"
_PROCESS = {"place": "process"}


def _spawns(failures: str, *, reason: str) -> dict[str, str]:
    return series(_SPAWN, "trial_launcher", failures, reason=reason, **_PROCESS)


def _runs(*, waiting: str) -> dict[str, str]:
    found = series(_RUNS, "trial_launcher", "8x90", state="running", **_PROCESS)
    return found | series(_RUNS, "trial_launcher", waiting, state="waiting", **_PROCESS)


TRIALS = Group(
    name="trialbus-trials",
    rules=(
        Alert(
            name="TrialbusLauncherFull",
            # Each launcher of a machine tells of all that wait there.
            expr='max by (namespace) (trialbus_runs{place="process",state="waiting"}) > 0',
            severity="warning",
            minutes=30,
            summary="Trials wait for their launcher.",
            description="{{ $value }} attempts wait for their process; for half an hour there "
            "have always been some.",
            cases=(
                fires(_runs(waiting="3x90"), 60),
                # Everything got its turn in between.
                silent(_runs(waiting="3x20 0 3x60"), 45),
            ),
        ),
        Alert(
            name="TrialbusSpawnsFailing",
            expr="sum by (namespace, place)"
            ' (increase(trialbus_spawn_failures_total{reason="machine"}[10m])) > 3',
            severity="warning",
            minutes=2,
            summary="Attempts cannot be launched ({{ $labels.place }}).",
            description="{{ $value | humanize }} attempts could not be launched within 10 minutes "
            "({{ $labels.place }}).",
            cases=(
                fires(_spawns("0+1x30", reason="machine"), 20, _PROCESS),
                silent(_spawns("0x10 2x20", reason="machine"), 15),
                # Scripts that are not there.
                silent(_spawns("0+1x30", reason="command"), 20),
            ),
        ),
        Alert(
            name="TrialbusAttemptsLost",
            expr="sum by (namespace) (increase(trialbus_attempts_lost_total[30m])) > 5"
            " and sum by (namespace) (increase(trialbus_attempts_lost_total[30m]))"
            " > 0.05 * sum by (namespace) (increase(trialbus_trials_opened_total[30m]))",
            severity="warning",
            minutes=0,
            summary="Attempts are lost, and begin anew.",
            description="{{ $value | humanize }} attempts of the last 30 minutes ended without a "
            "result.",
            cases=(
                fires(
                    series(_LOST, "experiment", "0+1x60") | series(_OPENED, "experiment", "0+5x60"),
                    40,
                ),
                # Few of very many.
                silent(
                    series(_LOST, "experiment", "0+1x60")
                    | series(_OPENED, "experiment", "0+500x60"),
                    40,
                ),
                silent(
                    series(_LOST, "experiment", "0x20 2x40")
                    | series(_OPENED, "experiment", "0+1x60"),
                    40,
                ),
            ),
        ),
        Alert(
            name="TrialbusLeasesLost",
            expr="sum by (namespace) (increase(trialbus_lease_losses_total[30m])) > 10",
            severity="warning",
            minutes=0,
            summary="Workers take trials and let go of them without a word.",
            description="Workers have lost {{ $value | humanize }} trials within 30 minutes.",
            cases=(
                fires(series(_LEASES, "trial_launcher", "0+1x60"), 40),
                # One worker with a few trials was killed.
                silent(series(_LEASES, "trial_launcher", "0x20 4x40"), 40),
            ),
        ),
        Alert(
            name="TrialbusMetricsIncomplete",
            expr="sum by (namespace) (increase(trialbus_metrics_incomplete_total[30m])) > 3",
            severity="warning",
            minutes=0,
            summary="Attempts end without all of their metrics.",
            description="{{ $value | humanize }} attempts of the last 30 minutes ended without all "
            "of their metrics.",
            cases=(
                fires(series(_INCOMPLETE, "trial_launcher", "0+1x60"), 40),
                silent(series(_INCOMPLETE, "trial_launcher", "0x20 1x40"), 40),
            ),
        ),
        Alert(
            name="TrialbusMetricsRefused",
            expr="sum by (namespace, reason)"
            ' (rate(trialbus_metric_points_refused_total{reason=~"limit|invalid"}[15m])) > 1',
            severity="warning",
            minutes=10,
            summary="Reported points are refused: {{ $labels.reason }}.",
            description="{{ $value | humanize }} points a second are refused: "
            "{{ $labels.reason }}.",
            cases=(
                fires(
                    series(_REFUSED, "metrics_collector", "0+600x60", reason="limit"),
                    40,
                    {"reason": "limit"},
                ),
                # What a sender repeats.
                silent(series(_REFUSED, "metrics_collector", "0+600x60", reason="repeated"), 40),
                silent(series(_REFUSED, "metrics_collector", "0+30x60", reason="limit"), 40),
            ),
        ),
    ),
)
