"""What every Launcher promises of the files of its runs."""

from trialbus.ports.launcher import Launcher, PrivateFile
from trialbus.testkit.launcher_benches import Bench, wait_for_end, wait_for_output
from trialbus.testkit.memory_launcher import Script


async def test_private_files_are_listed_and_read_while_they_grow(
    bench: Bench, launcher: Launcher, run_id: str
) -> None:
    script = Script(
        files=(
            (0.0, "logs/b/two.log", b"22"),
            (0.0, "logs/one.log", b"first\n"),
            (0.0, "other/three.log", b"3"),
            (0.2, "logs/one.log", b"second\n"),
        ),
        output=((0.1, b"wrote\n"),),
        duration_s=0.2,
    )
    await launcher.start([bench.plan(run_id, script)])
    await wait_for_output(launcher, run_id, b"wrote\n")
    assert await launcher.read_private(run_id, "logs/one.log", 0, 6) == b"first\n"
    assert (await wait_for_end(launcher, run_id)).exit_code == 0
    assert list(await launcher.private_files(run_id, "logs")) == [
        PrivateFile(path="b/two.log", size_bytes=2),
        PrivateFile(path="one.log", size_bytes=13),
    ]
    assert len(await launcher.private_files(run_id, "")) == 3
    assert await launcher.read_private(run_id, "logs/one.log", 6, 3) == b"sec"
    assert await launcher.read_private(run_id, "logs/one.log", 13, 100) == b""


async def test_private_files_that_are_not_there_are_empty(
    bench: Bench, launcher: Launcher, run_id: str
) -> None:
    await launcher.start([bench.plan(run_id, Script())])
    await wait_for_end(launcher, run_id)
    for asked in (run_id, "5f0c.77.1"):
        assert list(await launcher.private_files(asked, "logs")) == []
        assert await launcher.read_private(asked, "logs/one.log", 0, 100) == b""


async def test_notes_are_kept_beside_a_run_for_the_next_launcher_and_only_at_their_end(
    bench: Bench, launcher: Launcher, run_id: str
) -> None:
    await launcher.start([bench.plan(run_id, Script())])
    await wait_for_end(launcher, run_id)
    assert await launcher.read_kept(run_id, "beside.txt", 2, 100) == b"note\n"
    assert await launcher.read_kept(run_id, "spool.jsonl", 0, 100) == b""
    assert await launcher.keep(run_id, "spool.jsonl", 0, b"one\n")
    assert not await launcher.keep(run_id, "spool.jsonl", 0, b"another\n")
    assert not await launcher.keep(run_id, "spool.jsonl", 5, b"another\n")
    assert await launcher.keep(run_id, "spool.jsonl", 4, b"two\n")
    second = bench.launcher()
    assert await second.read_kept(run_id, "spool.jsonl", 0, 100) == b"one\ntwo\n"
    await second.close()
    assert not await launcher.keep("5f0c.77.1", "spool.jsonl", 0, b"one\n")
