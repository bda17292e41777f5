"""From a plan to a running wrapper: environment, words, posix_spawn."""

# Names are put together as the shell and the kernel do it, never normalised.
# ruff: noqa: PTH100

import os
import re
import signal
from collections.abc import Mapping, Sequence

from trialbus_trial_launcher.adapters.local_process.folders import OpenClaim
from trialbus_trial_launcher.adapters.local_process.missing import places

# The wrapper: built-ins only, so that it costs one exec and one fork; dash, bash and busybox agree
# on it. Its stderr is the journal; the command gets the output file instead. Traps (unlike ignored
# signals) are reset for the command, so a signal to the whole group ends the command and leaves the
# wrapper to tell how. `exec` in a subshell never runs a built-in or function of that name. bash
# names the signal that ended a command only outside its POSIX mode.
_WRAPPER = """${{BASH_VERSION:+set +o posix}}
trap : HUP INT QUIT TERM USR1 USR2
echo "pid $$" >&2
({enter}exec "$@" 2>&1)
echo "exit $?" >&2"""
_IN_PLACE = _WRAPPER.format(enter="")
_IN_FOLDER = _WRAPPER.format(enter='cd -- "$1" || exit 126; shift; ')
# The wrapper's name in its own error messages, at the start of a line of the output.
WRAPPER_NAME = "trialbus"
# The number under which every process of a run holds the claim's lock, beside 0, 1 and 2.
LOCK_DESCRIPTOR = 9

# Marks every process of a run, also those that leave its process group.
FOLDER_VARIABLE = "TRIALBUS_RUN_FOLDER"
RUN_ID_VARIABLE = "TRIALBUS_RUN_ID"
_OWN_PREFIX = "TRIALBUS_"
# Of whoever started the launcher: trials have their own or none.
_FOREIGN_TRACE = frozenset({"TRACEPARENT", "TRACESTATE"})
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Other names do not survive every sh (dash drops them), and this one tells the wrapper what it is.
_CARRIED_NAME = re.compile(r"(?!BASH_VERSION$)[A-Za-z_][A-Za-z0-9_]*")

_DEFAULT_SIGNALS = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


def base_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """The launcher's environment as in the user's shell, without our own settings (they hold
    credentials); Python writes its output at once, so that metrics arrive live."""
    kept = {
        name: value
        for name, value in inherited.items()
        if not name.startswith(_OWN_PREFIX)
        and name not in _FOREIGN_TRACE
        and _CARRIED_NAME.fullmatch(name)
    }
    kept.setdefault("PATH", _DEFAULT_PATH)
    kept.setdefault("PYTHONUNBUFFERED", "1")
    return kept


def spawn(
    command: Sequence[str],
    env: Mapping[str, str],
    working_dir: str | None,
    claim: OpenClaim,
    *,
    shell: str,
    null: int,
) -> int:
    """Starts the wrapper, the leader of a new session; its pid. Nothing passes through a shell's
    parser: the words are positional arguments. Raises OSError, or ValueError (NUL, bad name)."""
    words = _without_options(command, env["PATH"], working_dir)
    carried = {name: value for name, value in env.items() if _CARRIED_NAME.fullmatch(name)}
    if len(carried) < len(env):
        words = [*_env_words(env, carried, words[0]), *words]
    script, arguments = _IN_PLACE, words
    if working_dir is not None:
        script, arguments = _IN_FOLDER, [os.path.abspath(working_dir), *words]
    return os.posix_spawn(
        shell,
        ["sh", "-c", script, WRAPPER_NAME, *arguments],
        carried,
        file_actions=[
            (os.POSIX_SPAWN_DUP2, null, 0),
            (os.POSIX_SPAWN_DUP2, claim.output, 1),
            (os.POSIX_SPAWN_DUP2, claim.journal, 2),
            # Last: the three above may have this number here.
            (os.POSIX_SPAWN_DUP2, claim.lock, LOCK_DESCRIPTOR),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=_DEFAULT_SIGNALS,
    )


def _without_options(command: Sequence[str], path: str, working_dir: str | None) -> list[str]:
    """A program named like an option would be one to some shells' exec: give its full path."""
    if not command[0].startswith("-"):
        return list(command)
    for place in places(command[0], path, working_dir):
        if os.access(place, os.X_OK):
            return [os.path.abspath(place), *command[1:]]
    return list(command)


def _env_words(env: Mapping[str, str], carried: Mapping[str, str], program: str) -> list[str]:
    """env(1) sets the variables whose names a shell cannot carry."""
    for name in env.keys() - carried.keys():
        if not name or "=" in name:
            raise ValueError(f"not a name of an environment variable: {name!r}")
    if "=" in program:
        raise ValueError(f"{program!r} cannot run with environment names that are no identifiers")
    return ["env", *(f"{name}={value}" for name, value in env.items() if name not in carried)]


def open_null() -> int:
    """/dev/null under a number that is not one of a trial's 0, 1 and 2, so that no later file of
    ours has one of them either."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    return descriptor
