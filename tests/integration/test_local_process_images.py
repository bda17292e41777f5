"""A container's process on this machine: its private folders, its programs, and what is missing."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from trialbus.kernel.images import NO_IMAGES, ImageFolder, LocalImages
from trialbus.ports.launcher import RunPlan, RunState
from trialbus.runtime.settings import Settings
from trialbus.runtime.templates import local_images
from trialbus.testkit.run_probes import run, shell
from trialbus_trial_launcher.adapters.local_process import LocalProcessLauncher

RUN = "0b1e.0.1"
IMAGE = "team/train:1"


@pytest.fixture
async def launcher(tmp_path: Path) -> AsyncIterator[LocalProcessLauncher]:
    launcher = LocalProcessLauncher(tmp_path / "runs")
    yield launcher
    await launcher.close()


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


async def test_private_folders_are_there_and_go_when_the_run_is_tidied(
    launcher: LocalProcessLauncher, tmp_path: Path
) -> None:
    command = shell('echo 1 >"$TRIALBUS_RUN_FOLDER/private/katib/logs/m.json"; echo done')
    plan = RunPlan(run_id=RUN, command=command, folders=("katib/logs", "tf", ""))
    status, output = await run(launcher, plan)
    assert (status.exit_code, output) == (0, b"done\n")
    private = tmp_path / "runs" / RUN / "private"
    assert (private / "katib/logs/m.json").read_text() == "1\n"
    assert sorted(each.name for each in private.iterdir()) == ["katib", "tf"]
    await launcher.tidy([RUN, "0b1e.9.1"])
    assert not private.exists()
    after = (await launcher.status([RUN]))[RUN]
    assert (after.state, after.exit_code) == (RunState.FINISHED, 0)
    assert await launcher.read(RUN, 0, 100) == b"done\n"


async def test_programs_of_the_image_come_first_on_path(
    launcher: LocalProcessLauncher, tmp_path: Path
) -> None:
    program(tmp_path / "image/bin/train", "echo of the image")
    program(tmp_path / "other/train", "echo of another")
    plan = RunPlan(
        run_id=RUN,
        command=("train",),
        env={"PATH": f"{tmp_path}/other:/usr/bin:/bin"},
        search_path=(f"{tmp_path}/image/bin",),
    )
    status, output = await run(launcher, plan)
    assert (status.exit_code, output) == (0, b"of the image\n")


def test_a_folder_of_an_image_is_looked_at(tmp_path: Path) -> None:
    """A virtual environment, one beside the code, and code alone."""
    program(tmp_path / "venv/bin/python", "")
    program(tmp_path / "code/.venv/bin/python", "")
    program(tmp_path / "code/entrypoint", "")
    (tmp_path / "plain/entrypoint").mkdir(parents=True)
    settings = Settings.model_validate(
        {
            "interpreter": "/usr/bin/python3",
            "image_map": {name: tmp_path / name for name in ("venv", "code", "plain")},
            "path_map": {"/opt": tmp_path},
        }
    )
    assert local_images(settings) == LocalImages(
        images={
            "venv": ImageFolder(
                folder=f"{tmp_path}/venv",
                programs=(f"{tmp_path}/venv/bin",),
                interpreter=f"{tmp_path}/venv/bin/python",
            ),
            "code": ImageFolder(
                folder=f"{tmp_path}/code",
                programs=(f"{tmp_path}/code/.venv/bin",),
                interpreter=f"{tmp_path}/code/.venv/bin/python",
                entrypoint=f"{tmp_path}/code/entrypoint",
            ),
            "plain": ImageFolder(folder=f"{tmp_path}/plain", programs=("/usr/bin",)),
        },
        paths={"/opt": str(tmp_path)},
    )


MAPPED = LocalImages(images={"team/train": ImageFolder(folder="/img")}, paths={"/opt": "/local"})
MISSING: list[tuple[dict[str, Any], LocalImages, int, str]] = [
    (
        {"command": ("python3", "-u", "/opt/app/train.py")},
        NO_IMAGES,
        127,
        "file not found: '/opt/app/train.py'; if it is in the image team/train:1, say where it is "
        "here: --map-path /opt/app=DIR",
    ),
    (
        {"command": ("python3", "train.py", "--x=1")},
        NO_IMAGES,
        127,
        "file not found: 'train.py' in FOLDER; if it is in the image team/train:1, say which "
        "folder stands for that: --map-image team/train=DIR",
    ),
    (
        {"command": ("/start.sh",)},
        NO_IMAGES,
        127,
        "command not found: '/start.sh'; if it is in the image team/train:1, say where it is here: "
        "--map-path /start.sh=FILE",
    ),
    (
        {"command": ("no-such-program",)},
        NO_IMAGES,
        127,
        "command not found: 'no-such-program'; if it is in the image team/train:1, say which "
        "folder stands for that: --map-image team/train=DIR",
    ),
    (
        {"command": ("true",), "working_dir": "/no/such"},
        NO_IMAGES,
        126,
        "working folder not found: '/no/such'; if it is in the image team/train:1, say where it is "
        "here: --map-path /no/such=DIR",
    ),
    (
        {"command": ("sh", "-e", "/local/start.sh")},
        MAPPED,
        127,
        "file not found: '/local/start.sh' (--map-path says that /opt is /local)",
    ),
    (
        {"command": ("python3", "train.py")},
        MAPPED,
        127,
        "file not found: 'train.py' in FOLDER (--map-image says that team/train:1 is /img)",
    ),
    (
        {"command": ("true",), "working_dir": "/img"},
        MAPPED,
        126,
        "working folder not found: '/img' (--map-image says that team/train:1 is /img)",
    ),
    (
        {"command": ("python3", "x.py"), "image": ""},
        NO_IMAGES,
        127,
        "file not found: 'x.py' in FOLDER",
    ),
]


@pytest.mark.parametrize(("plan", "images", "code", "message"), MISSING)
async def test_what_is_missing_is_named_with_what_to_say(
    tmp_path: Path, plan: dict[str, Any], images: LocalImages, code: int, message: str
) -> None:
    launcher = LocalProcessLauncher(tmp_path / "runs", images=images)
    fields = {"image": IMAGE, "working_dir": str(tmp_path), **plan}
    status, _ = await run(launcher, RunPlan(run_id=RUN, **fields))
    told = message.replace("FOLDER", repr(str(tmp_path)))
    assert (status.exit_code, status.message) == (code, told)
    await launcher.close()


@pytest.mark.parametrize(
    "command",
    [
        ("python3", "-c", "import sys; sys.exit(len(sys.argv) - 2)", "no-such-file.py"),
        ("python3", "-W", "ignore", "-c", ""),
        ("sh", "-c", "exit $#", "no-such-file"),
        ("sh", "script-beside.sh"),
        ("bash", "-o", "pipefail", "-c", "true"),
        ("env", "no=file", "true"),
    ],
)
async def test_words_that_are_no_files_are_not_looked_for(
    launcher: LocalProcessLauncher, tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "script-beside.sh").write_text("exit 0\n")
    plan = RunPlan(run_id=RUN, command=command, working_dir=str(tmp_path), image=IMAGE)
    status, output = await run(launcher, plan)
    assert status.exit_code == 0, output
