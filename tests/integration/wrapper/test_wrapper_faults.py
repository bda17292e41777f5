"""What a pod's wrapper makes of gateways that talk nonsense, of addresses that are none, of a disk
that loses what it has, and of what it inherits."""

import os
import signal
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from trialbus.contracts.shipping import Termination, no_address
from trialbus.testkit.pod_gateway import Fault, PodGateway
from trialbus.testkit.waits import until_sync
from trialbus.testkit.wrapped import UNTIL_GO, WAIT_S, Wrapped


def termination(pod: Wrapped) -> Termination:
    found = Termination.read((pod.folder / "termination-log").read_text())
    assert found is not None
    return found


# Answers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "nonsense",
    [
        "flood",
        (200, b"<html>no JSON</html>"),
        (200, b"{"),
        (200, b'{"stored_to": "7"}'),
        (200, b'{"stored_to": 9223372036854775808}'),
        (200, b'{"stored_to": 1000000000000000}'),
    ],
)
def test_an_answer_to_output_that_is_none_is_asked_for_again(
    pod: Wrapped, gateway: PodGateway, nonsense: Fault
) -> None:
    process = pod.start("sh", "-c", f"{UNTIL_GO}; echo loss=1", str(pod.folder))
    until_sync(lambda: gateway.claims, "it is claimed")
    gateway.faults.append(nonsense)
    (pod.folder / "go").touch()
    ended = pod.end(process)
    assert (ended.code, ended.told["error"]) == (0, "")
    assert bytes(gateway.stream) == b"loss=1\n"
    assert gateway.final


def test_a_claim_is_asked_for_again_after_an_answer_without_an_end(
    pod: Wrapped, gateway: PodGateway
) -> None:
    gateway.faults.append("flood")
    assert pod.shell("echo loss=1").stdout == b"loss=1\n"


def test_half_an_escape_ends_with_its_text(pod: Wrapped, gateway: PodGateway) -> None:
    gateway.faults.append((409, b'{"message":"a\\u1","b":"c"}'))
    ended = pod.shell("echo never")
    assert (ended.code, ended.told["error"]) == (78, "a\x01 (409)")


def test_an_end_that_is_not_acknowledged_is_told_again_without_haste(
    pod: Wrapped, gateway: PodGateway
) -> None:
    gateway.instead = {"final": False}
    process = pod.start("sh", "-c", "echo loss=1")
    until_sync(lambda: len(gateway.asked) > 3, "it is told again")
    asked = gateway.asked[1:]
    assert all(later.at - it.at > 0.1 for it, later in pairwise(asked))
    gateway.instead = {}
    assert pod.end(process).code == 0
    assert gateway.final


def test_where_the_stream_is_ended_by_others_the_command_goes_on(
    pod: Wrapped, gateway: PodGateway
) -> None:
    """And does not wait for room that nobody will make."""
    pod.more["TRIALBUS_SPOOL_BYTES"] = "0"
    script = f"echo loss=1; {UNTIL_GO}; seq 100000"
    process = pod.start("sh", "-c", script, str(pod.folder))
    until_sync(lambda: gateway.stream, "its first line is stored")
    gateway.instead = {"final": True}
    (pod.folder / "go").touch()
    ended = pod.end(process)
    assert ended.code == 0
    assert ended.stdout.endswith(b"\n100000\n")
    assert ended.told["error"] == "the stream was ended before the command"
    assert ended.told["stored"] < ended.told["total"]


def test_where_nothing_is_wanted_of_a_run_that_ships_nothing_it_keeps_what_it_has_open(
    pod: Wrapped, gateway: PodGateway
) -> None:
    pod.more["TRIALBUS_WRAP_KIND"] = "none"
    gateway.look_s = 0.1
    process = pod.start("sh", "-c", UNTIL_GO, str(pod.folder))
    until_sync(lambda: gateway.asked, "it asks")
    own = Path(f"/proc/{process.pid}")
    gateway.refusal = 404
    until_sync(lambda: len(list((own / "task").iterdir())) == 1, "nothing is shipped any more")
    assert (own / "fd" / "0").exists()
    (pod.folder / "go").touch()
    assert pod.end(process).code == 0


# Addresses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://gateway", b"https"),
        ("gateway:80", b"no http:// address"),
        ("http://", b"names no host"),
        ("http://gateway:x", b"port"),
        ("http://gateway:0", b"port"),
        ("http://gateway:65536", b"port"),
        ("http://[::1", b"IPv6"),
        ("http://me@gateway", b"no host"),
        ("http://gateway/?a=b", b"no plain address"),
        ("http://gate way", b"no plain address"),
        ("HTTPS://gateway", b"https"),
    ],
)
def test_an_address_that_it_cannot_use_is_told_and_the_command_is_not_run(
    pod: Wrapped, url: str, said: bytes
) -> None:
    """Launchers refuse it before."""
    assert no_address(url)
    pod.more["TRIALBUS_URL"] = url
    ended = pod.shell("echo never")
    assert (ended.code, ended.stdout, said in ended.stderr) == (75, b"", True)


# Stops ------------------------------------------------------------------------------------------


def test_a_pod_that_is_deleted_while_it_waits_for_its_claim_ends_at_once(
    pod: Wrapped, gateway: PodGateway
) -> None:
    gateway.away.set()
    process = pod.start("echo", "never")
    assert process.stderr is not None
    assert b"waiting to claim the attempt" in process.stderr.readline()
    process.terminate()
    ended = pod.end(process, timeout_s=5)
    assert (ended.code, ended.stdout) == (128 + signal.SIGTERM, b"")


def test_a_command_that_ended_by_itself_was_not_stopped(pod: Wrapped, gateway: PodGateway) -> None:
    """The stop comes while something that has left the group still holds the output."""
    gateway.look_s = 0.1
    script = f"setsid sleep 600 & echo $! > $0/outside; echo $$ > $0/own; {UNTIL_GO}; exit 3"
    process = pod.start("sh", "-c", script, str(pod.folder))
    until_sync(lambda: (pod.folder / "own").exists() and gateway.asked, "it runs")
    own = Path("/proc") / (pod.folder / "own").read_text().strip()
    (pod.folder / "go").touch()
    until_sync(lambda: not own.exists(), "it has ended")
    gateway.stop = "EarlyStopped"
    ended = pod.end(process)
    os.kill(int((pod.folder / "outside").read_text()), signal.SIGKILL)
    assert (ended.code, ended.told["stop"]) == (3, "")


# What it says at the end ------------------------------------------------------------------------


def test_its_last_message_says_whether_it_tried_to_run_the_command(
    pod: Wrapped, gateway: PodGateway
) -> None:
    pod.shell("exit 78")
    assert (termination(pod).ran, termination(pod).exit) == (True, 78)
    pod.run("no-such-command")
    assert (termination(pod).ran, termination(pod).exit) == (True, 127)
    gateway.holder = "pod-0"
    pod.shell("echo never")
    assert (termination(pod).ran, termination(pod).exit) == (False, 78)
    pod.more["TRIALBUS_URL"] = "https://gateway"
    pod.shell("echo never")
    assert (termination(pod).ran, termination(pod).exit) == (False, 75)


# The disk, and what is inherited ----------------------------------------------------------------


def test_output_that_the_disk_has_lost_is_told_and_not_passed_over(
    pod: Wrapped, gateway: PodGateway
) -> None:
    script = f"touch $0/on; until [ -e $0/away ]; do sleep 0.01; done; seq 100000; {UNTIL_GO}"
    with (pod.folder / "out").open("wb") as out:
        process = pod.start("sh", "-c", script, str(pod.folder), stdout=out)
        until_sync((pod.folder / "on").exists, "it runs")
        gateway.away.set()
        (pod.folder / "away").touch()
        printed = pod.folder / "out"
        until_sync(lambda: printed.read_bytes().endswith(b"\n100000\n"), "all is printed")
        files = Path(f"/proc/{process.pid}/fd")
        [spool] = [it for it in files.iterdir() if ".spool-" in str(it.readlink())]
        os.truncate(spool, 0)
        gateway.away.clear()
        (pod.folder / "go").touch()
        ended = pod.end(process)
    assert ended.code == 0
    assert ended.told["error"] == "what waited on the disk cannot be read"
    assert ended.told["stored"] == len(gateway.stream) < ended.told["total"]
    assert not gateway.final


def test_a_spool_that_is_full_again_and_again_is_told_of_once(
    pod: Wrapped, gateway: PodGateway
) -> None:
    pod.more["TRIALBUS_SPOOL_BYTES"] = "0"
    gateway.faults += ["slow"] * 8
    ended = pod.shell("seq 150000")
    assert ended.code == 0
    assert bytes(gateway.stream) == ended.stdout
    assert ended.stderr.count(b"the spool is full") == 1


def test_it_waits_for_its_command_though_who_started_it_waits_for_nobody(
    pod: Wrapped, gateway: PodGateway
) -> None:
    """An ignored SIGCHLD is inherited, and nobody who ignores it can wait."""
    ignoring = ["env", "--ignore-signal=CHLD", str(pod.program), "--"]
    ended = subprocess.run(
        [*ignoring, "sh", "-c", "echo loss=1; exit 4"],
        env=pod.environment,
        capture_output=True,
        check=False,
        timeout=WAIT_S,
    )
    assert (ended.returncode, ended.stdout) == (4, b"loss=1\n")
    assert gateway.final
