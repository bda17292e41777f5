"""`trialbus run`: from a file to the best trial."""

import json
import os
import signal
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn, TextIO

from trialbus.cli.api import Api, experiment_path
from trialbus.cli.failures import FAILED, INTERRUPTED, OK, NotFound, StackGone
from trialbus.cli.invocation import command_line, this_command
from trialbus.cli.mappings import notes_on_mappings
from trialbus.cli.observing import check_observed, notes_on_observing
from trialbus.cli.progress import Progress, summary
from trialbus.cli.reading import ExperimentFile, read_experiment
from trialbus.cli.stacks import (
    api_of,
    connect,
    data_folder,
    going_down,
    going_up,
    local_only,
    on_stack,
)
from trialbus.cli.starting import using_stack
from trialbus.cli.trouble import trouble
from trialbus.cli.watching import PlainDisplay, Silent, display_on, patiently, read_progress, watch
from trialbus.kernel.limits import KILL_GRACE_S
from trialbus.local import stack_file

# After SIGKILL the launcher still has to see the end and the experiment to record it.
SUSPEND_DEADLINE_S = KILL_GRACE_S + 5.0
# A launcher that had just read the word to start one shows its run by then.
QUIET_LOOKS = 5
_LEFT = (
    "left at once: a stack of its own stops by itself; trials that still run are not waited for\n"
    "and are taken over by the next start of the stack\n"
)


def run(
    file: str,
    *,
    data_dir: Path | None,
    url: str | None,
    namespace: str | None,
    as_json: bool,
    keep_up: bool,
    anew: bool = False,
    observe: bool = False,
) -> int:
    """The exit code. Everything for people goes to stderr when `as_json`."""
    if observe:
        local_only(url)
    experiment = read_experiment(file, namespace)
    out = sys.stderr if as_json else sys.stdout
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with _stack(data_dir, url, out, keep_up=keep_up, observe=observe) as api:
            if anew:
                _delete(api, experiment, out)
            stays = keep_up or url is not None
            how_to_look = partial(_how_to_look, data_dir, url, stays=stays)
            return _run_on(api, experiment, out, how_to_look, as_json=as_json)
    except KeyboardInterrupt:
        _say(out, "interrupted before the experiment was begun")
        return INTERRUPTED


@contextmanager
def _stack(
    data_dir: Path | None, url: str | None, out: TextIO, *, keep_up: bool, observe: bool
) -> Iterator[Api]:
    if url is not None:
        yield connect(None, url)
        return
    folder = data_folder(data_dir)
    ran = stack_file.is_held(folder)
    if not ran:
        _say(out, f"starting nats-server, mongod and the services on {folder}")
    with using_stack(folder, keep_up=keep_up, observe=observe) as status:
        _say(sys.stderr, *notes_on_mappings(status, folder))
        if observe and ran:
            check_observed(status, folder)
        if observe:
            stays = ran or keep_up
            again = f"{going_down(folder)} && {this_command()}" if stays else this_command()
            _say(out, *notes_on_observing(status, again))
        yield api_of(status, folder)


def _delete(api: Api, experiment: ExperimentFile, out: TextIO) -> None:
    """Return when nothing is left of what has the experiment's name."""
    path = experiment_path(experiment.namespace, experiment.name)
    try:
        patiently(lambda: api.call("DELETE", path))
        _say(out, f"deleting what there is of {experiment.namespace}/{experiment.name}")
        watch(api, experiment.namespace, experiment.name, Silent(), until=lambda _progress: False)
    except NotFound:
        return


def _how_to_look(data_dir: Path | None, url: str | None, trial: str, *, stays: bool) -> str:
    """The command that shows all of a trial's output once this one has ended."""
    logs = on_stack(data_dir, url, "logs", trial)
    return logs if stays else f"{going_up(data_folder(data_dir))} && {logs}"


def _run_on(
    api: Api,
    experiment: ExperimentFile,
    out: TextIO,
    how_to_look: Callable[[str], str],
    *,
    as_json: bool,
) -> int:
    namespace, name = experiment.namespace, experiment.name
    try:
        answer = apply(api, experiment)
        before = patiently(lambda: read_progress(api, namespace, name))
        with display_on(out) as display:
            progress = watch(api, namespace, name, display)
        _leave_at_once_when_told()
    except KeyboardInterrupt:
        return _interrupted(api, experiment, out)
    _say(out, "", *summary(progress))
    if progress.phase == "Failed" or progress.best is None:
        _show_trouble(api, experiment, out, how_to_look)
    if before.ended and not answer["created"]:
        _say(out, "", *_how_to_start_anew())
    if as_json:
        print_json(patiently(lambda: api.get(experiment_path(namespace, name))))
    return OK if progress.phase == "Succeeded" else FAILED


def apply(api: Api, experiment: ExperimentFile) -> dict[str, object]:
    """Create it, change what may change, or resume it. Raises CommandFailed with every problem."""
    body = {
        "id": str(uuid.uuid4()),  # one command, however often it is sent
        "object": experiment.document,
        "workingDir": str(experiment.working_dir),
    }
    path = experiment_path(experiment.namespace, experiment.name)
    answer: dict[str, object] = patiently(lambda: api.call("PUT", path, body))
    return answer


def tell_applied(api: Api, experiment: ExperimentFile) -> str:
    """Apply it, and say what that has changed."""
    answer = apply(api, experiment)
    changed = "applied" if answer.get("changed", True) else "unchanged"
    done = "created" if answer["created"] else changed
    return f"{experiment.namespace}/{experiment.name} {done}"


def print_json(found: object) -> None:
    print(json.dumps(found, indent=2))  # noqa: T201 - what was asked for


def _show_trouble(
    api: Api, experiment: ExperimentFile, out: TextIO, how_to_look: Callable[[str], str]
) -> None:
    found = trouble(api, experiment.namespace, experiment.name)
    if found is not None:
        trial, lines = found
        _say(out, "", *lines, "All of its output:", f"  {how_to_look(trial)}")


def _how_to_start_anew() -> Iterator[str]:
    yield "It had finished before; nothing was run. To delete it and start anew:"
    yield f"  {this_command('--anew')}"


def _interrupted(api: Api, experiment: ExperimentFile, out: TextIO) -> int:
    """Suspend it and wait until nothing of it runs."""
    _leave_at_once_when_told()
    namespace, name = experiment.namespace, experiment.name
    _say(out, "", "interrupted: stopping its trials (once more to leave at once)")
    path = experiment_path(namespace, name, "suspend")
    try:
        patiently(lambda: api.call("POST", path))
        progress = watch(
            api,
            namespace,
            name,
            PlainDisplay(out),
            until=Still(),
            within_s=SUSPEND_DEADLINE_S,
        )
    except NotFound:
        _say(out, "it had not been accepted yet")
    except StackGone as gone:
        _say(out, f"{gone}; what still runs is taken over when you go on")
    except TimeoutError:
        _say(out, "some trials still run; they are taken over when you go on")
    else:
        if progress.ended:
            _say(out, "it had just ended:", *summary(progress))
    _say(out, f"go on with: {_without_anew()}")
    return INTERRUPTED


def _without_anew() -> str:
    return command_line(*(each for each in sys.argv[1:] if each != "--anew"))


class Still:
    """Whether nothing of an experiment runs, and nothing was about to."""

    def __init__(self) -> None:
        self._looks = 0

    def __call__(self, progress: Progress) -> bool:
        quiet = progress.phase == "Suspended" and not progress.running
        if quiet and not progress.pending:
            return True
        self._looks = self._looks + 1 if quiet else 0
        return progress.ended or self._looks >= QUIET_LOOKS


def _leave_at_once_when_told() -> None:
    """From here on only the clearing up is left; an exception in the midst of it would spoil it."""
    signal.signal(signal.SIGINT, _leave_at_once)
    signal.signal(signal.SIGTERM, _leave_at_once)


def _leave_at_once(number: int, frame: FrameType | None) -> NoReturn:
    """The stack, if it is ours, stops by itself when this process has gone."""
    del number, frame
    os.write(2, _LEFT.encode())
    os._exit(INTERRUPTED)


def _say(out: TextIO, *lines: str) -> None:
    for line in lines:
        out.write(f"{line}\n")
    out.flush()
