"""Alerts on experiments that do not go on."""

from making.rules.rule import Alert, Group, fires, held, silent
from making.rules.series import series

_STALLED = "trialbus_stalled_experiments"
_OLDEST = "trialbus_stalled_oldest_seconds"
_ENDED = "trialbus_trials_ended_total"
_FAILING = "trialbus_failing_experiments"
_LAUNCH = {"reason": "LaunchStalled"}


def _ended(*, failed: str, succeeded: str) -> dict[str, str]:
    found = series(_ENDED, "experiment", failed, outcome="Failed")
    return found | series(_ENDED, "experiment", succeeded, outcome="Succeeded")


EXPERIMENTS = Group(
    name="trialbus-experiments",
    rules=(
        Alert(
            name="TrialbusExperimentsStalled",
            expr=f"{held(_STALLED, 'namespace, reason')} > 0",
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
                    _LAUNCH,
                ),
                # The only replica is frozen or killed: what it told does not begin anew, and nobody
                # takes it for gone.
                fires(series(_STALLED, "experiment", "0x5 2x2 stale _x20", **_LAUNCH), 12, _LAUNCH),
                fires(series(_STALLED, "experiment", "0x5 2x9 stale _x20", **_LAUNCH), 28, _LAUNCH),
                silent(series(_STALLED, "experiment", "0x5 2x9 stale _x20", **_LAUNCH), 32),
                # It is back, under another address, and the stall is over.
                silent(
                    series(_STALLED, "experiment", "0x5 2x2 stale _x20", **_LAUNCH)
                    | series(_STALLED, "experiment", "_x9 0x20", instance="b:1", **_LAUNCH),
                    14,
                ),
                # A launcher was started anew.
                silent(series(_STALLED, "experiment", "0x5 2x2 0x20", reason="LaunchStalled"), 15),
            ),
        ),
        Alert(
            name="TrialbusExperimentStalledLong",
            expr=f"{held(_OLDEST, 'namespace')} > 1800",
            severity="critical",
            minutes=0,
            summary="An experiment has not gone on for half an hour.",
            description="The experiment that has stood still longest has done so for "
            "{{ $value | humanizeDuration }}.",
            cases=(
                fires(series(_OLDEST, "experiment", "0+60x60"), 40),
                fires(series(_OLDEST, "experiment", "0+60x35 stale _x20"), 45),
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
        Alert(
            name="TrialbusExperimentsFailing",
            expr=f"{held(_FAILING, 'namespace')} > 0",
            severity="warning",
            minutes=10,
            summary="Experiments go on though most of their trials fail.",
            description="Of {{ $value }} experiments most of the last trials, 10 or more, "
            "failed or told no objective, and they go on.",
            cases=(
                # One of a hundred: of all trials too few fail for TrialbusTrialsFailing.
                fires(
                    series(_FAILING, "experiment", "0x10 1x30")
                    | series(_ENDED, "experiment", "0+1x40", outcome="Failed")
                    | series(_ENDED, "experiment", "0+99x40", outcome="Succeeded"),
                    30,
                ),
                # It ended, or its trials are well again.
                silent(series(_FAILING, "experiment", "0x10 1x8 0x30"), 25),
            ),
        ),
    ),
)
