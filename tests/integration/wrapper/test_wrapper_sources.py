"""What the wrapper of pods reads beside the output: files, event files, checkpoints; and itself."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from tensorboardX import SummaryWriter

from trialbus.testkit.pod_gateway import PodGateway
from trialbus.testkit.waits import until_sync
from trialbus.testkit.wrapped import UNTIL_GO, Wrapped, python

# Files ------------------------------------------------------------------------------------------


@pytest.fixture
def file(pod: Wrapped) -> Path:
    path = pod.folder / "metrics.log"
    pod.more |= {"TRIALBUS_WRAP_KIND": "file", "TRIALBUS_WRAP_PATH": str(path)}
    return path


def test_a_file_that_comes_late_is_shipped_as_it_grows(
    pod: Wrapped, gateway: PodGateway, file: Path
) -> None:
    process = pod.start("sh", "-c", UNTIL_GO, str(pod.folder))
    until_sync(lambda: gateway.claims, "it is claimed")
    with file.open("wb", 0) as out:
        out.write(b"loss=1\nlo")
        until_sync(lambda: gateway.stream == b"loss=1\n", "the whole line is stored")
        out.write(b"ss=2\n")
        until_sync(lambda: gateway.stream == b"loss=1\nloss=2\n", "the rest is stored")
        out.write(b"loss=3")
    (pod.folder / "go").touch()
    assert pod.end(process).told["stored"] == 20
    assert bytes(gateway.stream) == b"loss=1\nloss=2\nloss=3"
    assert gateway.final


def test_what_is_printed_beside_a_file_is_not_shipped(
    pod: Wrapped, gateway: PodGateway, file: Path
) -> None:
    ended = pod.shell("echo loss=9; echo loss=1 > $1", str(file))
    assert ended.stdout == b"loss=9\n"
    assert bytes(gateway.stream) == b"loss=1\n"


def test_a_file_that_is_made_shorter_goes_on_where_it_was(
    pod: Wrapped, gateway: PodGateway, file: Path
) -> None:
    """As beside local runs: only what is added counts."""
    process = pod.start("sh", "-c", UNTIL_GO, str(pod.folder))
    file.write_bytes(b"loss=1\nloss=2\n")
    until_sync(lambda: len(gateway.stream) == 14, "it is stored")
    file.write_bytes(b"loss=3\n")
    (pod.folder / "other").write_bytes(b"loss=4\nloss=5\nloss=6\n")
    (pod.folder / "other").rename(file)
    until_sync(lambda: len(gateway.stream) == 21, "what comes after that place is stored")
    (pod.folder / "go").touch()
    assert pod.end(process).code == 0
    assert bytes(gateway.stream) == b"loss=1\nloss=2\nloss=6\n"


def test_long_lines_of_a_file_are_passed_over(
    pod: Wrapped, gateway: PodGateway, file: Path
) -> None:
    code = (
        "import sys; f = open(sys.argv[1], 'w');"
        "f.write('a=1\\n' + 'x' * 70000 + '\\nb=2\\n' + 'y' * 500000 + '\\nc=3\\n' + 'z' * 200000)"
    )
    gateway.passes_over = True
    assert pod.run(*python(code, str(file))).code == 0
    pieces = [(it.start, it.data) for it in gateway.asked if it.data]
    kept = b"".join(data for _, data in pieces)
    assert [line for line in kept.split(b"\n") if len(line) < 65536] == [
        b"a=1",
        b"b=2",
        b"c=3",
        b"",
    ]


# Event files ------------------------------------------------------------------------------------


@pytest.fixture
def events(pod: Wrapped) -> Path:
    path = pod.folder / "events"
    pod.more |= {"TRIALBUS_WRAP_KIND": "tfevent", "TRIALBUS_WRAP_PATH": f"{path}/"}
    return path


def write_events(folder: Path, *values: float) -> bytes:
    """The bytes of a real event file."""
    writer = SummaryWriter(str(folder))
    for step, value in enumerate(values):
        writer.add_scalar("loss", value, step)
    writer.close()
    [path] = folder.iterdir()
    return path.read_bytes()


def files_in(stream: bytes, turn: int = 1) -> dict[str, bytes]:
    """The frames of a stream, joined by path."""
    found: dict[str, bytes] = {}
    while stream:
        line, _, rest = stream.partition(b"\n")
        word, pass_, size, path = line.split(b" ")
        assert word == b"tfevent"
        if int(pass_) == turn:
            found[path.decode()] = found.get(path.decode(), b"") + rest[: int(size)]
        stream = rest[int(size) :]
    return found


def test_records_of_all_event_files_are_shipped_whole(
    pod: Wrapped, gateway: PodGateway, events: Path
) -> None:
    data = write_events(pod.folder / "made", 1, 2, 3)
    process = pod.start("sh", "-c", UNTIL_GO, str(pod.folder))
    until_sync(lambda: gateway.claims, "it is claimed")
    (events / "train" / "ä b").mkdir(parents=True)
    (events / "train" / "notes.txt").write_bytes(data)
    (events / "a.tfevents.1").write_bytes(data[:-3])
    (events / "train" / "ä b" / "b.tfevents").write_bytes(data)
    until_sync(lambda: len(files_in(bytes(gateway.stream))) == 2, "both are shipped")
    (events / "a.tfevents.1").write_bytes(data)
    (pod.folder / "go").touch()
    ended = pod.end(process)
    assert files_in(bytes(gateway.stream)) == {
        "a.tfevents.1": data,
        "train/%C3%A4%20b/b.tfevents": data,
    }
    assert gateway.final
    assert ended.told["stored"] == ended.told["total"] == len(gateway.stream)


def test_broken_and_huge_records_are_passed_over(
    pod: Wrapped, gateway: PodGateway, events: Path
) -> None:
    good = write_events(pod.folder / "made", 1, 2)
    writer = SummaryWriter(str(pod.folder / "large"))
    writer.add_text("picture", "x" * 300_000)
    writer.add_scalar("loss", 0.5)
    writer.close()
    [large] = (pod.folder / "large").iterdir()
    events.mkdir()
    (events / "1.tfevents").write_bytes(good + b"\0" * 12 + good)
    (events / "2.tfevents").write_bytes(large.read_bytes())
    assert pod.run("true").code == 0
    found = files_in(bytes(gateway.stream))
    assert found["1.tfevents"] == good
    assert 0 < len(found["2.tfevents"]) < 1000


def test_event_records_come_a_second_time_where_they_are_wanted_again(
    pod: Wrapped, gateway: PodGateway, events: Path
) -> None:
    """Of a file that breaks off in nonsense all that lies before that."""
    data = write_events(pod.folder / "made", *range(3000))
    events.mkdir()
    (events / "a.tfevents").write_bytes(data)
    (events / "b.tfevents").write_bytes(data + b"\0" * 12)
    gateway.again = True
    gateway.faults += ["chunked", "lost", 500]
    assert pod.run("true").code == 0
    for turn in (1, 2):
        found = files_in(bytes(gateway.stream), turn)
        assert found == {"a.tfevents": data, "b.tfevents": data}
    assert gateway.final


def test_without_a_stream_it_only_asks_whether_to_stop(pod: Wrapped, gateway: PodGateway) -> None:
    pod.more["TRIALBUS_WRAP_KIND"] = "none"
    gateway.look_s = 0.1
    process = pod.start("sh", "-c", f"echo loss=1; {UNTIL_GO}", str(pod.folder))
    until_sync(lambda: len(gateway.asked) > 2, "it asks", within_s=30)
    (pod.folder / "go").touch()
    assert pod.end(process).code == 0
    assert {(it.data, it.final) for it in gateway.asked} == {(b"", False)}
    assert not gateway.final


# Checkpoints ------------------------------------------------------------------------------------


@pytest.fixture
def checkpoints(pod: Wrapped) -> Path:
    folder = pod.folder / "checkpoints"
    parent = folder / "0"
    (parent / "deep").mkdir(parents=True)
    (parent / "deep" / "model").write_bytes(os.urandom(300_000))
    (parent / "deep" / "model").chmod(0o640)
    (parent / "newest").symlink_to(parent / "deep" / "model")
    (parent / "relative").symlink_to("deep/model")
    pod.more |= {
        "TRIALBUS_CHECKPOINT": str(folder / "1"),
        "TRIALBUS_CHECKPOINT_COPY_OF": str(parent),
    }
    return folder


def test_a_parents_checkpoint_is_there_before_the_command(pod: Wrapped, checkpoints: Path) -> None:
    (checkpoints / "1.unfinished-pod-0").mkdir()
    ended = pod.shell("cat $TRIALBUS_CHECKPOINT/newest")
    assert ended.stdout == (checkpoints / "0" / "deep" / "model").read_bytes()
    own = checkpoints / "1"
    assert (own / "newest").readlink() == own / "deep" / "model"
    assert (own / "relative").readlink() == Path("deep/model")
    assert (own / "deep" / "model").stat().st_mode & 0o777 == 0o640
    assert sorted(it.name for it in checkpoints.iterdir()) == ["0", "1"]


def test_a_later_attempt_finds_its_own_checkpoint(pod: Wrapped, checkpoints: Path) -> None:
    (checkpoints / "1").mkdir()
    (checkpoints / "1" / "epoch").write_text("7")
    assert pod.shell("ls $TRIALBUS_CHECKPOINT").stdout == b"epoch\n"


def test_without_a_parents_checkpoint_there_is_an_empty_one(
    pod: Wrapped, checkpoints: Path
) -> None:
    pod.more["TRIALBUS_CHECKPOINT"] = str(checkpoints / "new" / "2")
    pod.more["TRIALBUS_CHECKPOINT_COPY_OF"] = str(checkpoints / "gone")
    assert pod.shell("ls -A $TRIALBUS_CHECKPOINT && echo empty").stdout == b"empty\n"


def test_half_a_checkpoint_is_none_and_the_command_is_not_run(
    pod: Wrapped, checkpoints: Path
) -> None:
    limited = "trap '' XFSZ; ulimit -f 1; exec \"$0\" -- echo never"
    ended = subprocess.run(
        ["sh", "-c", limited, str(pod.program)],
        env=pod.environment,
        capture_output=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (126, b"")
    assert "cannot copy the checkpoint" in pod.told()["error"]
    assert [it.name for it in checkpoints.iterdir()] == ["0"]


# Itself -----------------------------------------------------------------------------------------


def test_it_installs_itself_where_it_is_told(program: Path, tmp_path: Path) -> None:
    for _ in range(2):
        subprocess.run([program, "install", str(tmp_path)], check=True)
    assert (tmp_path / "wrap").read_bytes() == program.read_bytes()
    assert (tmp_path / "wrap").stat().st_mode & 0o777 == 0o755
    assert [it.name for it in tmp_path.iterdir()] == ["wrap"]
    gone = subprocess.run(
        [program, "install", str(tmp_path / "gone")], capture_output=True, check=False
    )
    assert gone.returncode == 1
    assert b"No such file" in gone.stderr


def test_as_the_first_process_it_reaps_and_passes_signals_on(
    pod: Wrapped, gateway: PodGateway, program: Path
) -> None:
    unshare = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no process namespace can be made here")
    script = (
        "for i in 1 2 3; do (sh -c 'true & exec sleep 0.01' &); done;"
        "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.01; done"
    )
    process = subprocess.Popen(
        [*unshare, str(program), "--", "sh", "-c", script],
        env=pod.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    until_sync(lambda: b"ready" in gateway.stream, "it runs")
    [inside] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()

    def zombies() -> int:
        below = Path(f"/proc/{inside}/task/{inside}/children").read_text().split()
        states = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
                  for pid in below]  # fmt: skip
        return states.count("Z")

    until_sync(lambda: zombies() == 0, "orphans are reaped")
    os.kill(int(inside), signal.SIGTERM)
    ended = pod.end(process)
    assert (ended.code, ended.stdout) == (5, b"ready\nbye\n")
