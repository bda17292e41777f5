"""What a person sees of a running experiment, line by line."""

import io
import shlex
from typing import Any

import pytest

from trialbus.cli.progress import (
    BestTrial,
    Pace,
    Progress,
    clock,
    parse_progress,
    plain_line,
    repeat_command,
    summary,
)
from trialbus.cli.watching import PlainDisplay

BEST = {
    "trial": "tune-abcd1234",
    "value": 0.97214,
    "parameters": {"--lr": "0.02", "--optimizer": "adam"},
    "command": ["python", "train.py", "--name=a b"],
    "workingDir": "/home/me/my data",
}


def _progress(**changes: Any) -> Progress:
    trials = changes.pop("trials", {"created": 0})
    answer: dict[str, Any] = {
        "uid": "1",
        "namespace": "default",
        "name": "tune",
        "phase": "Running",
        "reason": "",
        "message": "",
        "parallel": 2,
        "max": 12,
        "goal": None,
        "objective": {"type": "maximize", "name": "accuracy"},
        "trials": trials,
        "best": None,
    }
    return parse_progress(answer | changes)


def test_a_line_tells_the_phase_the_trials_by_state_and_the_best_so_far() -> None:
    trials = {"created": 8, "running": 2, "succeeded": 4, "failed": 1, "earlyStopped": 1}
    assert plain_line(_progress(trials=trials, best=BEST)) == (
        "tune: Running; 6/12 done; 2 running, 4 succeeded, 1 stopped early, 1 failed; "
        "best accuracy=0.97214 (tune-abcd1234)"
    )


def test_a_line_before_the_first_trial() -> None:
    assert plain_line(_progress(phase="Created")) == "tune: Created; 0/12 done; no trials yet"


def test_without_a_limit_the_line_names_none() -> None:
    trials = {"created": 3, "running": 1, "succeeded": 2}
    expected = "tune: Running; 2 done; 1 running, 2 succeeded"
    assert plain_line(_progress(trials=trials, max=None)) == expected


def test_a_state_that_waits_says_why() -> None:
    line = plain_line(_progress(phase="Suspended", message="Experiment is suspended"))
    assert line.endswith("; Experiment is suspended")


def test_the_plain_display_writes_a_line_only_when_something_changed() -> None:
    out = io.StringIO()
    display = PlainDisplay(out)
    one = _progress(trials={"created": 1, "running": 1})
    two = _progress(trials={"created": 1, "succeeded": 1})
    for at, progress in enumerate([one, one, two, two, one]):
        display.show(progress, float(at), None)
    assert out.getvalue().splitlines() == [
        "tune: Running; 0/12 done; 1 running; 0:00 elapsed",
        "tune: Running; 1/12 done; 1 succeeded; 0:02 elapsed",
        "tune: Running; 0/12 done; 1 running; 0:04 elapsed",
    ]


def test_the_plain_display_uses_no_control_codes() -> None:
    out = io.StringIO()
    trials = {"created": 5, "running": 2, "succeeded": 3}
    PlainDisplay(out).show(_progress(trials=trials, best=BEST), 3.0, 9.0)
    text = out.getvalue()
    assert text.endswith("; 0:03 elapsed, about 0:09 left\n")
    assert [character for character in text if ord(character) < 32] == ["\n"]


def test_the_time_left_is_what_is_left_at_the_pace_of_the_trials_seen() -> None:
    # Two run side by side for 10 s and both end: 10 s each. Ten are left, two at a time: 50 s.
    pace = Pace().seen(_progress(trials={"created": 2, "running": 2}), 100.0)
    ended = _progress(trials={"created": 4, "running": 2, "succeeded": 2})
    pace = pace.seen(ended, 110.0)
    assert pace.left_s(ended) == pytest.approx(50.0)


def test_the_pace_of_a_resumed_experiment_counts_only_what_was_seen() -> None:
    # 6 had ended before; from then on one trial takes 4 s: 5 are left, 2 at a time: 10 s.
    pace = Pace().seen(_progress(trials={"created": 7, "running": 1, "succeeded": 6}), 0.0)
    ended = _progress(trials={"created": 8, "running": 1, "succeeded": 7})
    assert pace.seen(ended, 4.0).left_s(ended) == pytest.approx(10.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"trials": {"created": 2, "running": 2}},  # none has ended yet
        {"trials": {"created": 2, "succeeded": 2}, "max": None},
        {"trials": {"created": 2, "succeeded": 2}, "phase": "Suspended"},
        {"trials": {"created": 2, "succeeded": 2}, "phase": "Succeeded"},
    ],
)
def test_there_is_no_estimate_where_nothing_is_known(changes: dict[str, Any]) -> None:
    pace = Pace().seen(_progress(trials={"created": 2, "running": 2}), 0.0)
    assert pace.seen(_progress(**changes), 5.0).left_s(_progress(**changes)) is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (4.2, "0:05"), (760, "12:40"), (10921, "3:02:01")]
)
def test_times_are_written_like_a_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_the_end_names_the_best_trial_its_parameters_and_the_command_that_repeats_it() -> None:
    progress = _progress(
        phase="Succeeded",
        reason="ExperimentGoalReached",
        message="Experiment has succeeded because Objective goal has reached",
        trials={"created": 3, "succeeded": 2, "killed": 1},
        best=BEST,
    )
    assert list(summary(progress)) == [
        "default/tune succeeded (ExperimentGoalReached): 2 succeeded, 1 killed",
        "Experiment has succeeded because Objective goal has reached",
        "",
        "Best trial: tune-abcd1234",
        "  accuracy = 0.97214",
        "  --lr        = 0.02",
        "  --optimizer = adam",
        "",
        "Repeat it with:",
        "  cd '/home/me/my data' && python train.py '--name=a b'",
    ]


def test_without_a_best_trial_the_end_says_so() -> None:
    lines = list(summary(_progress(phase="Failed", trials={"metricsUnavailable": 1})))
    assert lines[-1] == "No trial has reported accuracy."
    lines = list(summary(_progress(phase="Failed", trials={"created": 1, "failed": 1})))
    assert not [line for line in lines if "reported" in line]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_a_value_that_json_lacks_is_read_and_shown(value: str) -> None:
    best = BEST | {"value": value}
    line = plain_line(_progress(best=best))
    assert f"accuracy={float(value):g} " in line


def test_the_command_survives_a_shell_whatever_it_holds() -> None:
    command = ("sh", "-c", "echo $HOME; `x` 'y' \"z\"", "", "a\nb")
    text = repeat_command(command, best_trial(working_dir="/tmp/it's"))
    assert shlex.split(text) == ["cd", "/tmp/it's", "&&", *command]


def test_who_goes_on_from_a_checkpoint_is_repeated_from_it() -> None:
    told = {"env": {"TRIALBUS_PARENT_CHECKPOINT": "/c d/3"}, "workingDir": "/w"}
    assert list(summary(_progress(best=BEST | {"command": ["./x"], **told})))[-1] == (
        "  cd /w && TRIALBUS_PARENT_CHECKPOINT='/c d/3' ./x"
    )
    copied = told | {"checkpoint": {"path": "/c/7-again", "copyOf": "/c/3"}}
    assert list(summary(_progress(best=BEST | {"command": ["./x"], **copied})))[-1] == (
        "  rm -rf /c/7-again && cp -a /c/3 /c/7-again && cd /w && "
        "TRIALBUS_PARENT_CHECKPOINT='/c d/3' ./x"
    )
    empty = {"checkpoint": {"path": "/c/7-again", "copyOf": None}, "workingDir": None}
    assert list(summary(_progress(best=BEST | {"command": ["./x"], **empty})))[-1] == (
        "  rm -rf /c/7-again && mkdir -p /c/7-again && ./x"
    )


def best_trial(**given: Any) -> BestTrial:
    return BestTrial(trial="t", value=1.0, parameters={}, command=None, **given)


SPENT = {
    "seconds": 12.2,
    "maxSeconds": 9000.0,
    "resourceSeconds": 340.0,
    "maxResourceSeconds": 3600.0,
    "resource": "cpu",
}


def test_budgets_of_time_are_shown_where_there_are_any() -> None:
    ended = _progress(phase="Succeeded", spent=SPENT)
    assert "Spent: 0:13 of 2:30:00; 340 of 3600 cpu-seconds" in list(summary(ended))
    without = SPENT | {"maxSeconds": None, "maxResourceSeconds": None}
    assert not [it for it in summary(_progress(phase="Succeeded", spent=without)) if "Spent" in it]


def test_no_more_time_is_left_than_the_budget_has() -> None:
    limited = _progress(spent=SPENT | {"maxSeconds": 20.0})
    assert Pace().seen(limited, 0.0).left_s(limited) == pytest.approx(7.8)
