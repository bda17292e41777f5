"""A Job of a container image on one machine: its paths, programs and folders are local ones."""

from dataclasses import replace
from typing import Any

import pytest

from trialbus.kernel.errors import Refused
from trialbus.kernel.images import NO_IMAGES, ImageFolder, LocalImages, LocalPaths, without_tag
from trialbus.kernel.job_templates import read_job
from trialbus.kernel.local_processes import command_problems, needed_files, script_at
from trialbus.kernel.spec import TrialParameter, TrialTemplate
from trialbus.kernel.templates import (
    DefaultTemplate,
    MetricsFile,
    RenderedRun,
    TrialIdentity,
    render_command,
)
from trialbus.kernel.trial import Assignment

TRIAL = TrialIdentity(namespace="ns", experiment="exp", name="exp-bcdfghjk")
IMAGE = "registry:5000/team/train:1.2"
CONTAINER = "spec.trialTemplate.trialSpec.spec.template.spec.containers[0]"
PLAIN = ImageFolder(folder="/local/train")
WITH_PYTHON = ImageFolder(
    folder="/local/train",
    programs=("/local/train/.venv/bin",),
    interpreter="/local/train/.venv/bin/python",
)


def template(pod: dict[str, Any] | None = None, **container: Any) -> TrialTemplate:
    main = {"name": "main", "image": IMAGE, "command": ["true"], **container}
    return TrialTemplate(
        trial_spec={
            "apiVersion": "batch/v1",
            "kind": "Job",
            "spec": {"template": {**(pod or {}), "spec": {"containers": [main]}}},
        },
        parameters=(TrialParameter(name="x", reference="x"),),
        primary_container="main",
    )


def mapped(folder: ImageFolder = PLAIN, name: str = IMAGE, **paths: str) -> LocalImages:
    return LocalImages(images={name: folder}, paths=paths)


def rendered(given: TrialTemplate, images: LocalImages = NO_IMAGES, **more: Any) -> RenderedRun:
    values = [Assignment(name="x", value=more.pop("x", "1"))]
    return render_command(
        given, TRIAL, values, interpreter="/py", working_dir="/file", images=images, **more
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/opt/app", "/a"),
        ("/opt/app/", "/a/"),
        ("/opt/app/train.py", "/a/train.py"),
        ("--data=/opt/app/d", "--data=/a/d"),
        ("python '/opt/app/x.py' --o=/opt/app", "python '/a/x.py' --o=/a"),
        ("/opt/app/lib:/opt/app", "/a/lib:/a"),
        ("/opt/app/deep/x", "/b/x"),
        ("/opt/app/deeper", "/a/deeper"),
        ("/opt/application", "/opt/application"),
        ("/opt/app.bak", "/opt/app.bak"),
        ("/opt/app-2/x", "/opt/app-2/x"),
        ("(/opt/app),/opt/app", "(/a),/a"),
        ("/srv/opt/app", "/srv/opt/app"),
        ("./opt/app", "./opt/app"),
        ("~/opt/app", "~/opt/app"),
        ("$HOME/opt/app", "$HOME/opt/app"),
        ("${HOME}/opt/app", "${HOME}/opt/app"),
        ("$(HOME)/opt/app", "$(HOME)/opt/app"),
        ("http://host/opt/app", "http://host/opt/app"),
        ("/again/x", "/opt/app/x"),
        ("opt/app", "opt/app"),
        ("", ""),
    ],
)
def test_paths_are_replaced_where_they_begin_and_end(text: str, expected: str) -> None:
    local = LocalPaths({"/opt/app": "/a", "/opt/app/deep/": "/b/", "/again": "/opt/app"})
    assert local(text) == expected


def test_a_path_may_lie_at_the_root_and_have_letters_of_expressions() -> None:
    assert LocalPaths({"/c++ (1)": "/"})("--in=/c++ (1)/x") == "--in=//x"
    assert LocalPaths({})("/x") == "/x"


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("train", "train"),
        ("train:1", "train"),
        ("host:5000/a/train", "host:5000/a/train"),
        ("host:5000/a/train:v1@sha256:0a", "host:5000/a/train"),
        ("a/train@sha256:0a", "a/train"),
    ],
)
def test_an_image_without_its_tag(image: str, name: str) -> None:
    assert without_tag(image) == name


def test_a_name_with_this_tag_counts_before_one_for_every_tag() -> None:
    other = replace(PLAIN, folder="/local/other")
    both = LocalImages(images={"team/train:2": PLAIN, "team/train": other}, paths={})
    assert both.find("team/train:2") is PLAIN
    assert both.find("team/train:3") is other
    assert both.find("team/train@sha256:0a") is other
    assert both.find("team/training") is None


def test_a_container_starts_in_the_folder_of_its_image() -> None:
    run = rendered(template(command=["python3", "train.py"]), mapped(WITH_PYTHON))
    assert run.command == ("/local/train/.venv/bin/python", "train.py")
    assert run.working_dir == "/local/train"
    assert run.search_path == ("/local/train/.venv/bin",)
    assert rendered(template()).working_dir == "/file"


@pytest.mark.parametrize(
    ("first", "images", "expected"),
    [
        ("python", mapped(PLAIN), "/py"),
        ("/usr/bin/python3", mapped(PLAIN), "/py"),
        ("/opt/conda/bin/python", mapped(WITH_PYTHON), "/local/train/.venv/bin/python"),
        ("/usr/bin/python3", NO_IMAGES, "/usr/bin/python3"),
        ("/venv/bin/python", mapped(PLAIN, **{"/venv": "/here"}), "/here/bin/python"),
        ("bin/python", mapped(PLAIN), "bin/python"),
        ("python3.12", mapped(PLAIN), "python3.12"),
    ],
)
def test_python_is_that_of_the_image_or_the_configured_one(
    first: str, images: LocalImages, expected: str
) -> None:
    assert rendered(template(command=[first]), images).command == (expected,)


def test_paths_of_the_image_are_local_ones_everywhere_and_once() -> None:
    run = rendered(
        template(
            command=["/code/run", "--x=${trialParameters.x}"],
            args=["$(DATA)/set", "/other"],
            env=[{"name": "DATA", "value": "/data/$(TRIALBUS_TRIAL_NAME)"}],
            workingDir="/code/sub",
        ),
        mapped(PLAIN, **{"/code": "/data/code", "/data": "/mnt/data"}),
        x="/code/x",
    )
    # /code -> /data/code is not read again, though /data stands for something else.
    assert run.command == (
        "/data/code/run",
        "--x=/data/code/x",
        "/mnt/data/exp-bcdfghjk/set",
        "/other",
    )
    assert run.env["DATA"] == "/mnt/data/exp-bcdfghjk"
    assert run.working_dir == "/data/code/sub"
    assert run.env["TRIALBUS_PARAMETERS"] == '{"x": "/code/x"}'


@pytest.mark.parametrize(
    ("given", "expected"),
    [(None, "/local/train"), ("sub", "/local/train/sub"), ("/elsewhere", "/elsewhere")],
)
def test_a_working_folder_is_below_that_of_the_image(given: str | None, expected: str) -> None:
    assert rendered(template(workingDir=given), mapped()).working_dir == expected


def test_the_collectors_path_is_private_to_the_run() -> None:
    metrics = MetricsFile(path="/katib/m.json", local="/runs/u.1.1/private/katib/m.json")
    run = rendered(
        template(
            command=["train", "--log-path=/katib/m.json", "--copy=$(TRIALBUS_METRICS_PATH)"],
            args=["/katib/m.json.bak", "/katib/other"],
            env=[{"name": "OUT", "value": "/katib/m.json"}],
        ),
        # Where the private path lies is not read again.
        mapped(PLAIN, **{"/runs": "/wrong"}),
        metrics=metrics,
    )
    assert run.command == (
        "train",
        "--log-path=/runs/u.1.1/private/katib/m.json",
        "--copy=/runs/u.1.1/private/katib/m.json",
        "/katib/m.json.bak",
        "/katib/other",
    )
    assert run.env["OUT"] == run.env["TRIALBUS_METRICS_PATH"] == metrics.local


def test_the_default_template_is_told_its_metrics_path_and_is_in_no_image() -> None:
    run = render_command(
        DefaultTemplate(command=("python", "/code/train.py")),
        TRIAL,
        [],
        interpreter="/py",
        images=mapped(PLAIN, **{"/code": "/wrong"}),
        metrics=MetricsFile(path="/m", local="/private/m"),
        variables={"TRIALBUS_MORE": "1"},
    )
    assert run.command == ("/py", "/code/train.py")
    assert (run.env["TRIALBUS_METRICS_PATH"], run.env["TRIALBUS_MORE"]) == ("/private/m", "1")


def test_more_variables_may_be_used_in_the_template() -> None:
    run = rendered(template(command=["x", "--port=$(PORT)"]), variables={"PORT": "1234"})
    assert run.command == ("x", "--port=1234")
    assert run.env["PORT"] == "1234"


def test_variables_come_from_the_pod() -> None:
    paths = {
        "NAME": "metadata.name",
        "SPACE": "metadata.namespace",
        "LABEL": "metadata.labels['my.org/key']",
        "TRIAL": "metadata.labels['katib.kubeflow.org/trial']",
        "JOB": "metadata.labels['job-name']",
        "NONE": "metadata.labels['none']",
        "NOTE": "metadata.annotations['note']",
    }
    given = template(
        pod={
            "metadata": {
                "labels": {"my.org/key": "at-${trialParameters.x}"},
                "annotations": {"note": "n"},
            }
        },
        command=["x", "$(LABEL)"],
        env=[
            *({"name": n, "valueFrom": {"fieldRef": {"fieldPath": p}}} for n, p in paths.items()),
            {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "optional": True}}},
        ],
        envFrom=[{"configMapRef": {"name": "c", "optional": True}}],
    )
    run = rendered(given, x="7")
    assert {name: run.env[name] for name in paths} == {
        "NAME": "exp-bcdfghjk",
        "SPACE": "ns",
        "LABEL": "at-7",
        "TRIAL": "exp-bcdfghjk",
        "JOB": "exp-bcdfghjk",
        "NONE": "",
        "NOTE": "n",
    }
    assert "KEY" not in run.env
    assert run.command == ("x", "at-7")


@pytest.mark.parametrize(
    "source",
    [
        {"fieldRef": {"fieldPath": "status.podIP"}},
        {"fieldRef": {"fieldPath": "metadata.labels"}},
        {"resourceFieldRef": {"resource": "limits.cpu"}},
        {"secretKeyRef": {"name": "s", "key": "k"}},
        {"configMapKeyRef": {"name": "s", "key": "k", "optional": False}},
        "text",
    ],
)
def test_variables_that_only_a_cluster_has_are_refused(source: Any) -> None:
    with pytest.raises(Refused, match=r"env\[0\]\.valueFrom: on one machine only fieldRef"):
        read_job(template(env=[{"name": "A", "valueFrom": source}]))


def test_without_a_command_the_images_entrypoint_runs() -> None:
    image = replace(PLAIN, entrypoint="/local/train/entrypoint")
    given = template(command=None, args=["--x=${trialParameters.x}"])
    assert command_problems(given, mapped(image)) == ()
    assert rendered(given, mapped(image)).command == ("/local/train/entrypoint", "--x=1")


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (NO_IMAGES, "--map-image registry:5000/team/train=DIR"),
        (mapped(), "an executable file named `entrypoint` into /local/train"),
    ],
)
def test_without_a_command_it_is_said_what_to_give(images: LocalImages, words: str) -> None:
    given = template(command=[], args=["--x=${trialParameters.x}"])
    (problem,) = command_problems(given, images)
    assert problem.field == f"{CONTAINER}.command"
    assert words in problem.message
    with pytest.raises(Refused, match="must be given"):
        rendered(given, images)
    # Who only reads the file does not know the images.
    assert render_command(given, TRIAL, [Assignment(name="x", value="1")], interpreter="/py")


@pytest.mark.parametrize(
    ("container", "images", "needed"),
    [
        ({"command": ["python3", "/opt/a.py"]}, NO_IMAGES, {"command[1]": "/opt/a.py"}),
        (
            {"command": ["python3", "-u"], "args": ["/opt/a.py"]},
            NO_IMAGES,
            {"args[0]": "/opt/a.py"},
        ),
        (
            {"command": ["/bin/sh", "/opt/a"]},
            NO_IMAGES,
            {"command[0]": "/bin/sh", "command[1]": "/opt/a"},
        ),
        ({"command": ["sh", "-c", "/opt/a"]}, NO_IMAGES, {}),
        ({"command": ["/usr/bin/python3", "-m", "/a"]}, mapped(), {}),
        ({"command": ["/x/run"]}, mapped(PLAIN, **{"/x": "/here"}), {"command[0]": "/here/run"}),
        ({"command": ["/x/${trialParameters.x}"]}, NO_IMAGES, {}),
        ({"command": ["/x/$(A)"]}, NO_IMAGES, {}),
        ({"command": ["run", "/x"]}, NO_IMAGES, {}),
        ({"command": ["python", "train.py"]}, NO_IMAGES, {}),
        ({"command": None, "args": ["/x"]}, NO_IMAGES, {}),
    ],
)
def test_files_that_must_be_there_are_known_before_anything_runs(
    container: dict[str, Any], images: LocalImages, needed: dict[str, str]
) -> None:
    found = needed_files(template(**container), images)
    assert {it.field.removeprefix(f"{CONTAINER}."): it.path for it in found} == needed


@pytest.mark.parametrize(
    ("command", "at"),
    [
        ("python a.py", 1),
        ("/usr/bin/python3.11 -u -O a.py --x", 3),
        ("bash -eu ./a", 2),
        ("sh a", None),
        ("python -m a", None),
        ("python -c a", None),
        ("python -W ignore a.py", None),
        ("bash -o pipefail ./a", None),
        ("sh -ec ./a", None),
        ("python", None),
        ("python -", None),
        ("pythonic a.py", None),
        ("", None),
    ],
)
def test_a_script_is_told_from_other_words(command: str, at: int | None) -> None:
    assert script_at(command.split()) == at
