"""The wrapper of pods, as it is built: what it claims, passes on, ships, and how it ends."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from trialbus.testkit.pod_gateway import Fault, PodGateway
from trialbus.testkit.waits import until_sync
from trialbus.testkit.wrapped import UNTIL_GO, WAIT_S, Wrapped, python

LINE_BYTES = 64 * 1024
# A second is promised, and kept; a busy machine adds to it.
SOON_S = 8.0


# What passes through, and what is shipped -------------------------------------------------------


def test_output_passes_through_and_is_shipped_in_whole_lines(
    pod: Wrapped, gateway: PodGateway
) -> None:
    ended = pod.shell("printf 'loss=1\\nlo'; echo oops >&2; printf 'ss=2'; exit 3")
    assert (ended.code, ended.stdout, ended.stderr) == (3, b"loss=1\nloss=2", b"oops\n")
    assert sorted(gateway.stream.splitlines()) == [b"loss=1", b"loss=2", b"oops"]
    assert gateway.final
    assert gateway.claims == [{"holder": "pod-1"}]
    total = len(gateway.stream)
    assert ended.told == {
        "ran": True,
        "exit": 3,
        "signal": 0,
        "total": total,
        "stored": total,
        "stop": "",
        "oom": False,
        "error": "",
    }


def test_a_short_command_costs_one_claim_and_one_request(pod: Wrapped, gateway: PodGateway) -> None:
    assert pod.shell("echo loss=1").code == 0
    assert [(it.data, it.final) for it in gateway.asked] == [(b"loss=1\n", True)]


def test_bytes_pass_unchanged_whatever_they_are(pod: Wrapped, gateway: PodGateway) -> None:
    chaos = random.Random(1).randbytes(300_000)
    (pod.folder / "chaos").write_bytes(chaos)
    ended = pod.shell("cat chaos; cat chaos >&2".replace("chaos", str(pod.folder / "chaos")))
    assert ended.stdout == chaos
    assert ended.stderr == chaos
    assert gateway.final


def test_what_is_printed_is_there_at_once_and_stored_within_a_second(
    pod: Wrapped, gateway: PodGateway
) -> None:
    process = pod.start(
        "sh", "-c", "printf loss=; read x < $0/go; echo 1; sleep 600", str(pod.folder)
    )
    assert process.stdout is not None
    (pod.folder / "go").write_text("")
    begun = time.monotonic()
    assert process.stdout.read(7) == b"loss=1\n"
    assert time.monotonic() - begun < SOON_S
    until_sync(lambda: gateway.stream == b"loss=1\n", "it is stored", within_s=SOON_S)
    process.terminate()
    assert pod.end(process).code == 128 + signal.SIGTERM


def test_lines_that_the_parser_would_skip_are_left_out(pod: Wrapped, gateway: PodGateway) -> None:
    code = (
        "import sys; n = int(sys.argv[1]); w = sys.stdout.write;"
        "w('a=1\\n' + 'x' * n + '\\n' + 'y' * (n + 1) + '\\r' + 'b=2\\r' + 'z' * 9 * n + '\\nc=3')"
    )
    assert pod.run(*python(code, str(LINE_BYTES))).code == 0
    assert bytes(gateway.stream) == b"a=1\n" + b"x" * LINE_BYTES + b"\nb=2\rc=3\n"


def test_a_hundred_megabytes_need_little_memory(pod: Wrapped, gateway: PodGateway) -> None:
    script = (
        "head -c 100000000 /dev/zero | tr '\\0' x | fold -w 9999; echo;"
        "grep VmHWM /proc/$PPID/status >&2"
    )
    with (pod.folder / "out").open("wb") as out:
        process = pod.start("sh", "-c", script, stdout=out)
        ended = pod.end(process, 90)
    assert ended.code == 0
    assert (pod.folder / "out").stat().st_size == 100_010_002
    assert ended.told["stored"] == ended.told["total"] == len(gateway.stream)
    assert len(gateway.stream) == 100_010_002 + len(ended.stderr)
    assert int(ended.stderr.split()[1]) < 4096, "kilobytes"


def test_random_writes_and_faults_lose_and_double_nothing(
    pod: Wrapped, gateway: PodGateway
) -> None:
    """A seed says what is printed, in what pieces, and how the gateway fails meanwhile."""
    seed = random.SystemRandom().randrange(10**9)
    chance = random.Random(seed)
    lines = [b"loss=%d %s\n" % (n, b"." * chance.choice((0, 9, 999))) for n in range(4000)]
    (pod.folder / "lines").write_bytes(b"".join(lines))
    faults: list[Fault] = ["slow", "lost", "reset", "cut", "chunked", 500, 503, 408]
    gateway.faults += [chance.choice(faults) for _ in range(12)]
    code = (
        "import random, sys, os; r = random.Random(int(sys.argv[2]))\n"
        "with open(sys.argv[1], 'rb') as f:\n"
        "    while data := f.read(r.choice((1, 7, 4096, 100000))): os.write(1, data)"
    )
    ended = pod.run(*python(code, str(pod.folder / "lines"), str(seed)), timeout_s=90)
    assert ended.code == 0, seed
    assert bytes(gateway.stream) == b"".join(lines) == ended.stdout, seed
    assert gateway.final
    assert ended.told["stored"] == ended.told["total"]


def test_while_the_gateway_is_away_the_command_goes_on_and_all_is_shipped_later(
    pod: Wrapped, gateway: PodGateway
) -> None:
    script = "touch $0/go; until [ -e $0/away ]; do sleep 0.01; done; seq 200000; touch $0/done"
    with (pod.folder / "out").open("wb") as out:
        process = pod.start("sh", "-c", script, str(pod.folder), stdout=out)
        until_sync((pod.folder / "go").exists, "it is so")
        gateway.away.set()
        (pod.folder / "away").touch()
        until_sync((pod.folder / "done").exists, "it is so")
        assert len(gateway.stream) == 0
        until_sync(
            lambda: (pod.folder / "out").read_bytes().endswith(b"\n200000\n"),
            "it is so",
            within_s=WAIT_S,
        )
        gateway.away.clear()
        assert pod.end(process).code == 0
    assert bytes(gateway.stream) == (pod.folder / "out").read_bytes()


@pytest.mark.parametrize(
    "spool", [{"TRIALBUS_SPOOL_BYTES": "65536"}, {"TRIALBUS_SPOOL_BYTES": "0"}]
)
def test_a_command_waits_while_there_is_no_room_and_nothing_is_lost(
    pod: Wrapped, gateway: PodGateway, spool: dict[str, str]
) -> None:
    pod.more |= spool
    script = "touch $0/go; until [ -e $0/away ]; do sleep 0.01; done; seq 100000; touch $0/done"
    with (pod.folder / "out").open("wb") as out:
        process = pod.start("sh", "-c", script, str(pod.folder), stdout=out)
        until_sync((pod.folder / "go").exists, "it is so")
        gateway.away.set()
        (pod.folder / "away").touch()
        assert process.stderr is not None
        assert b"the spool is full" in process.stderr.readline()
        assert not (pod.folder / "done").exists()
        gateway.away.clear()
        assert pod.end(process).code == 0
    assert bytes(gateway.stream) == (pod.folder / "out").read_bytes()
    assert gateway.stream.endswith(b"\n100000\n")


def test_on_a_full_disk_a_command_waits_and_nothing_is_lost(
    pod: Wrapped, gateway: PodGateway
) -> None:
    """The spool's file may have 50 kB."""
    script = "touch $0/go; until [ -e $0/away ]; do sleep 0.01; done; seq 100000; touch $0/done"
    small = f"(trap '' XFSZ; ulimit -f 100; exec \"$1\" -- sh -c '{script}' $0) | cat > $0/out"
    process = subprocess.Popen(
        ["sh", "-c", small, str(pod.folder), str(pod.program)],
        env=pod.environment,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    until_sync((pod.folder / "go").exists, "it runs")
    gateway.away.set()
    (pod.folder / "away").touch()
    assert process.stderr is not None
    assert b"the spool is full" in process.stderr.readline()
    assert not (pod.folder / "done").exists()
    gateway.away.clear()
    told = pod.end(process).told
    assert (told["exit"], told["error"]) == (0, "")
    assert bytes(gateway.stream) == (pod.folder / "out").read_bytes()
    assert gateway.stream.endswith(b"\n100000\n")


def test_last_words_wait_for_room_however_long(pod: Wrapped, gateway: PodGateway) -> None:
    """They are in the pipe, and the command has ended."""
    pod.more["TRIALBUS_SPOOL_BYTES"] = "0"
    script = (
        "touch $0/go; until [ -e $0/away ]; do sleep 0.01; done; seq 24800;"
        "until [ -e $0/more ]; do sleep 0.01; done; seq 5000; touch $0/done"
    )
    with (pod.folder / "out").open("wb") as out:
        process = pod.start("sh", "-c", script, str(pod.folder), stdout=out)
        until_sync((pod.folder / "go").exists, "it runs")
        gateway.away.set()
        (pod.folder / "away").touch()
        assert process.stderr is not None
        assert b"the spool is full" in process.stderr.readline()
        (pod.folder / "more").touch()
        until_sync((pod.folder / "done").exists, "it has ended")
        ended_at = time.monotonic()
        until_sync(lambda: time.monotonic() > ended_at + 1.3, "others would be cut off by now")
        gateway.away.clear()
        assert pod.end(process).code == 0
    assert bytes(gateway.stream) == (pod.folder / "out").read_bytes()
    assert gateway.stream.endswith(b"\n5000\n")


# How it ends ------------------------------------------------------------------------------------


def test_a_command_that_cannot_be_executed_ends_as_in_a_shell(
    pod: Wrapped, gateway: PodGateway
) -> None:
    (pod.folder / "text").write_text("no program")
    (pod.folder / "text").chmod(0o644)
    assert pod.run(str(pod.folder / "text")).code == 126
    (pod.folder / "text").chmod(0o755)
    assert pod.run(str(pod.folder / "text")).code == 126
    ended = pod.run("no-such-command")
    assert ended.code == 127
    assert ended.stderr == b"trialbus: no-such-command: No such file or directory\n"
    assert ended.told["error"] == "no-such-command: No such file or directory"
    assert gateway.final


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGPIPE])
def test_a_command_that_a_signal_ends_is_told_as_such(pod: Wrapped, number: int) -> None:
    ended = pod.shell(f"kill -{number} $$")
    assert (ended.code, ended.told["exit"], ended.told["signal"]) == (
        128 + number,
        128 + number,
        number,
    )


def test_signals_reach_the_whole_process_group(pod: Wrapped, gateway: PodGateway) -> None:
    script = (
        "trap 'echo one' USR1; trap 'echo parent; wait; exit 4' TERM;"
        "sh -c \"trap 'echo child; exit' TERM; trap '' USR1; echo ready;"
        ' while :; do sleep 0.01; done" & while :; do wait; done'
    )
    process = pod.start("sh", "-c", script)
    until_sync(lambda: b"ready" in gateway.stream, "it is so")
    process.send_signal(signal.SIGUSR1)
    until_sync(lambda: b"one" in gateway.stream, "it is so")
    process.terminate()
    ended = pod.end(process)
    assert ended.code == 4
    assert sorted(ended.stdout.split()) == [b"child", b"one", b"parent", b"ready"]


def test_what_the_command_leaves_behind_ends_with_it(pod: Wrapped, gateway: PodGateway) -> None:
    begun = time.monotonic()
    script = (
        "sleep 600 & echo $!; setsid sh -c 'echo $$ > $0/outside; exec sleep 600' $0 & echo loss=1;"
        "until [ -s $0/outside ]; do sleep 0.01; done"
    )
    ended = pod.run("sh", "-c", script, str(pod.folder))
    os.kill(int((pod.folder / "outside").read_text()), signal.SIGKILL)
    assert ended.code == 0
    assert time.monotonic() - begun < 10
    assert not Path(f"/proc/{ended.stdout.split()[0].decode()}").exists()
    assert b"loss=1\n" in gateway.stream


def test_a_stop_ends_the_command_within_a_second(pod: Wrapped, gateway: PodGateway) -> None:
    gateway.look_s = 0.2
    process = pod.start("sh", "-c", "echo loss=1; exec sleep 600")
    until_sync(lambda: gateway.stream, "it is so")
    gateway.stop = "EarlyStopped"
    begun = time.monotonic()
    ended = pod.end(process)
    assert time.monotonic() - begun < SOON_S
    assert (ended.code, ended.told["stop"]) == (128 + signal.SIGTERM, "EarlyStopped")
    assert gateway.final


def test_a_command_that_ignores_a_stop_is_killed_after_the_grace(
    pod: Wrapped, gateway: PodGateway
) -> None:
    pod.more["TRIALBUS_GRACE_S"] = "0.3"
    gateway.look_s, gateway.stop = 0.1, "GoalReached"
    ended = pod.shell("trap '' TERM; echo loss=1; while :; do sleep 0.05; done")
    assert (ended.code, ended.told["signal"]) == (128 + signal.SIGKILL, signal.SIGKILL)
    assert gateway.final


@pytest.mark.parametrize("status", [401, 403, 404, 410, 302])
def test_where_nothing_more_is_wanted_the_command_goes_on(
    pod: Wrapped, gateway: PodGateway, status: int
) -> None:
    process = pod.start("sh", "-c", f"echo a=1; {UNTIL_GO}; seq 50000",
                        str(pod.folder))  # fmt: skip
    until_sync(lambda: gateway.stream, "it is so")
    gateway.refusal = status
    (pod.folder / "go").touch()
    ended = pod.end(process)
    assert ended.code == 0
    assert ended.stdout.endswith(b"\n50000\n")
    assert str(status) in ended.told["error"]
    assert ended.told["stored"] == len(gateway.stream) < ended.told["total"] == len(ended.stdout)


def test_where_the_attempt_is_over_the_command_is_stopped(
    pod: Wrapped, gateway: PodGateway
) -> None:
    process = pod.start("sh", "-c", f"echo a=1; {UNTIL_GO}; echo b=2;"
                        "exec sleep 600", str(pod.folder))  # fmt: skip
    until_sync(lambda: gateway.stream, "it is so")
    gateway.refusal = 409
    (pod.folder / "go").touch()
    ended = pod.end(process)
    assert (ended.code, ended.told["stop"]) == (128 + signal.SIGTERM, "not you (409)")


# Claims -----------------------------------------------------------------------------------------


def test_only_the_holder_runs_the_command(pod: Wrapped, gateway: PodGateway) -> None:
    gateway.holder = "pod-0"
    ended = pod.shell("echo never")
    assert (ended.code, ended.stdout) == (78, b"")
    assert ended.told["exit"] == 78
    assert ended.told["error"] == "another pod has it (409)"
    assert gateway.asked == []


def test_a_claim_is_repeated_until_it_is_answered(pod: Wrapped, gateway: PodGateway) -> None:
    gateway.faults += ["reset", 503, "lost", "cut"]
    assert pod.shell("echo loss=1").stdout == b"loss=1\n"
    assert len(gateway.claims) == 3


def test_a_redirect_is_not_followed(pod: Wrapped, gateway: PodGateway) -> None:
    gateway.faults.append(302)
    ended = pod.shell("echo never")
    assert (ended.code, ended.stdout, b"redirect" in ended.stderr) == (75, b"", True)


def test_a_name_and_a_path_before_the_gateway_are_used(pod: Wrapped, gateway: PodGateway) -> None:
    pod.more["TRIALBUS_URL"] = gateway.url.replace("127.0.0.1", "localhost") + "/"
    assert pod.shell("echo loss=1").code == 0
    assert gateway.final


def test_a_container_that_is_started_again_goes_on_where_the_stream_ends(
    pod: Wrapped, gateway: PodGateway
) -> None:
    pod.more["TRIALBUS_WRAP_RESTARTS"] = "1"
    assert pod.shell("echo loss=1; exit 1").code == 1
    assert not gateway.final
    assert pod.shell("echo loss=2").code == 0
    assert bytes(gateway.stream) == b"loss=1\nloss=2\n"
    assert gateway.final
