"""Alerts on experiments that do not go on."""

from making.rules.rule import Alert, Group, fires, silent
from making.rules.series import series

_STALLED = "trialbus_stalled_experiments"
_OLDEST = "trialbus_stalled_oldest_seconds"
_ENDED = "trialbus_trials_ended_total"


def _ended(*, failed: str, succeeded: str) -> dict[str, str]:
    found = series(_ENDED, "experiment", failed, outcome="Failed")
    return found | series(_ENDED, "experiment", succeeded, outcome="Succeeded")


EXPERIMENTS = Group(
    name="trialbus-experiments",
    rules=(
        Alert(
            name="TrialbusExperimentsStalled",
            expr="max by (namespace, reason) (trialbus_stalled_experiments) > 0",
            severity="warning",
            minutes=5,
            summary="Experiments do not go on: {{ $labels.reason }}.",
            description="{{ $value }} experiments have been waiting for longer than they should: "
            "{{ $labels.reason }}.",
            cases=(
                fires(
                    series(_STALLED, "experiment", "0x5 2x20", reason="LaunchStalled")
                    | series(_STALLED, "experiment", "0x25", reason="BusUnavailable"),
                    15,
                    {"reason": "LaunchStalled"},
                ),
                # A launcher was started anew.
                silent(series(_STALLED, "experiment", "0x5 2x2 0x20", reason="LaunchStalled"), 15),
            ),
        ),
        Alert(
            name="TrialbusExperimentStalledLong",
            expr="max by (namespace) (trialbus_stalled_oldest_seconds) > 1800",
            severity="critical",
            minutes=0,
            summary="An experiment has not gone on for half an hour.",
            description="The experiment that has stood still longest has done so for "
            "{{ $value | humanizeDuration }}.",
            cases=(
                fires(series(_OLDEST, "experiment", "0+60x60"), 40),
                silent(series(_OLDEST, "experiment", "0+60x20 0x20"), 40),
            ),
        ),
        Alert(
            name="TrialbusTrialsFailing",
            expr="sum by (namespace) (increase(trialbus_trials_ended_total"
            '{outcome="Failed"}[30m])) / sum by (namespace)'
            " (increase(trialbus_trials_ended_total[30m])) > 0.5"
            " and sum by (namespace) (increase(trialbus_trials_ended_total[30m])) > 20",
            severity="warning",
            minutes=5,
            summary="Most trials fail.",
            description="{{ $value | humanizePercentage }} of the trials that ended within 30 "
            "minutes have failed.",
            cases=(
                fires(_ended(failed="0+3x60", succeeded="0+1x60"), 40),
                silent(_ended(failed="0+1x60", succeeded="0+5x60"), 40),
                # Five in all: one experiment whose script is wrong tells its own user.
                silent(_ended(failed="0x20 5x40", succeeded="0x60"), 30),
            ),
        ),
    ),
)
