"""How much room is left on the disks of one machine: each file system once, and what cannot be read
is left out."""

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from trialbus.runtime import metrics
from trialbus.testkit.still_world import StillWorld
from trialbus.testkit.told_metrics import nonzero
from trialbus_trial_launcher.adapters.local_process.space import space_of
from trialbus_trial_launcher.app.folder_space import FolderSpace, Space

FOLDERS = {"data": "/data", "checkpoints": "/models", "artifacts": "s3://bucket/x"}


class Disks:
    """By path."""

    def __init__(self, **spaces: Space) -> None:
        self.spaces = spaces

    def read(self, path: str) -> Space:
        if path[1:] not in self.spaces:
            raise PermissionError(path)
        return self.spaces[path[1:]]


async def test_free_space_and_size_of_each_file_system_are_told() -> None:
    parts = StillWorld().parts()
    disks = Disks(
        data=Space(device=1, free_bytes=3, size_bytes=10),
        models=Space(device=2, free_bytes=70, size_bytes=100),
    )
    space = FolderSpace(parts, FOLDERS, disks.read)
    await space.look()
    assert nonzero(parts.telemetry, metrics.FOLDER_FREE) == {("data",): 3, ("checkpoints",): 70}
    assert nonzero(parts.telemetry, metrics.FOLDER_SIZE) == {("data",): 10, ("checkpoints",): 100}
    del disks.spaces["models"]
    await space.look()
    assert nonzero(parts.telemetry, metrics.FOLDER_FREE) == {("data",): 3}


async def test_a_folder_that_cannot_be_read_is_warned_of_once_until_it_could_be() -> None:
    room = Space(device=1, free_bytes=3, size_bytes=10)
    disks = Disks(data=room)
    with capture_logs() as logged:
        space = FolderSpace(StillWorld().parts(), FOLDERS, disks.read)
        for _ in range(3):
            await space.look()
        assert [it["folder"] for it in logged] == ["/models"]
        disks.spaces["models"] = room
        await space.look()
        del disks.spaces["models"]
        await space.look()
    assert [it["folder"] for it in logged] == ["/models", "/models"]


async def test_what_lies_on_one_file_system_is_told_once() -> None:
    parts = StillWorld().parts()
    one = Space(device=1, free_bytes=3, size_bytes=10)
    await FolderSpace(parts, FOLDERS, Disks(data=one, models=one).read).look()
    assert nonzero(parts.telemetry, metrics.FOLDER_FREE) == {("data",): 3}


def test_room_is_that_of_the_file_system_which_the_folder_will_be_on(tmp_path: Path) -> None:
    found = space_of(str(tmp_path / "not" / "yet"))
    there = os.statvfs(tmp_path)
    whole = there.f_blocks * there.f_frsize
    assert found.device == tmp_path.stat().st_dev
    assert 0 <= found.free_bytes <= found.size_bytes <= whole
    # Others may write meanwhile.
    free = there.f_bavail * there.f_frsize
    assert found.free_bytes == pytest.approx(free, abs=0.1 * whole)
