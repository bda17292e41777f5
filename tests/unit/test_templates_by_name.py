"""Trial templates that an experiment only names: where they are found, and that one that was found
stays what it was."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from trialbus.contracts import subjects
from trialbus.contracts.commands import Command
from trialbus.contracts.documents import EXPERIMENT
from trialbus.contracts.envelope import CommandReply
from trialbus.contracts.katib.spec import ParsedExperiment, parse_experiment
from trialbus.contracts.katib.template_sources import TemplatesElsewhere
from trialbus.kernel.errors import Refused
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.limits import MAX_YAML_BYTES
from trialbus.ports.bus import Request
from trialbus.runtime.settings import Settings
from trialbus.runtime.template_folder import TemplateFolder, template_folder
from trialbus.testkit.gateway_world import gateway_world
from trialbus.testkit.katib_cases import CATALOGUE, FixedTemplate, Object
from trialbus.testkit.still_world import StillWorld
from trialbus_experiment.app.commanding import Commanding

VALID = (Path(__file__).parents[1] / "data" / "katib" / "valid.yaml").read_text()
TEMPLATE = """
apiVersion: batch/v1
kind: Job
spec:
  template:
    spec:
      containers:
        - name: main
          image: any
          command: [python, t.py, ${trialParameters.rate}, "--opt=${trialParameters.optimizer}"]
"""
COMMAND = ["python", "t.py", "${trialParameters.rate}", "--opt=${trialParameters.optimizer}"]


def by_name(**spec: Any) -> Object:
    obj: Object = yaml.safe_load(VALID)
    template = obj["spec"]["trialTemplate"]
    del template["trialSpec"]
    template["configMap"] = {
        "configMapName": "trial-templates",
        "configMapNamespace": "kubeflow",
        "templatePath": "job.yaml",
    }
    obj["spec"] |= spec
    return obj


def write(folder: Path, text: str) -> Path:
    file = folder / "kubeflow" / "trial-templates" / "job.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def parse(text: str) -> ParsedExperiment:
    return parse_experiment(by_name(), catalogue=CATALOGUE, templates=FixedTemplate(text))


def refusal(text: str) -> list[tuple[str, str]]:
    with pytest.raises(Refused) as caught:
        parse(text)
    return [(problem.field, problem.message) for problem in caught.value.problems]


def command_of(parsed: ParsedExperiment) -> Any:
    assert parsed.spec.template is not None
    pod = parsed.spec.template.trial_spec["spec"]["template"]["spec"]
    return pod["containers"][0]["command"]


def test_the_specification_holds_the_template_and_the_source_its_name() -> None:
    parsed = parse(TEMPLATE)
    assert command_of(parsed) == COMMAND
    assert "trialSpec" not in parsed.source["spec"]["trialTemplate"]
    assert parsed.source["spec"]["trialTemplate"]["configMap"]["templatePath"] == "job.yaml"


def test_placeholders_mean_nothing_to_yaml() -> None:
    text = TEMPLATE.replace("t.py,", "t.py, katibTestValue, 'katibTestValueN0E',")
    assert command_of(parse(text))[2:4] == ["katibTestValue", "katibTestValueN0E"]
    assert command_of(parse(text))[4:] == COMMAND[2:]


def test_problems_inside_are_told_by_the_name_of_the_template() -> None:
    assert refusal(TEMPLATE.replace("main", "other")) == [
        (
            "spec.trialTemplate.primaryContainerName",
            "main names no container of trialSpec; containers: other",
        )
    ]
    assert refusal(TEMPLATE.replace("image", "imag"))[0] == (
        "spec.trialTemplate.configMap",
        "in the template, spec.template.spec.containers[0].imag: unknown field; "
        "did you mean image?",
    )
    assert refusal(TEMPLATE.replace("${trialParameters.rate}", "'${trialParameters.rat}'"))[1] == (
        "spec.trialTemplate.configMap",
        "${trialParameters.rat} is not found in trialParameters; did you mean rate?",
    )


def test_what_is_kept_elsewhere_is_left_to_who_has_it() -> None:
    parsed = parse_experiment(by_name(), catalogue=CATALOGUE, templates=TemplatesElsewhere())
    assert parsed.spec.template is not None
    assert parsed.spec.template.trial_spec == {}
    broken = by_name(maxTrialCount=0)
    with pytest.raises(Refused) as caught:
        parse_experiment(broken, catalogue=CATALOGUE, templates=TemplatesElsewhere())
    assert [problem.field for problem in caught.value.problems] == ["spec.maxTrialCount"]


def test_the_folder_is_a_setting_and_lies_in_the_data_folder(tmp_path: Path) -> None:
    def command(**settings: Any) -> Any:
        source = template_folder(Settings.model_validate(settings))
        return command_of(parse_experiment(by_name(), catalogue=CATALOGUE, templates=source))

    write(tmp_path / "data" / "templates", TEMPLATE)
    assert command(data_dir=tmp_path / "data") == COMMAND
    write(tmp_path / "other", TEMPLATE.replace("t.py", "u.py"))
    chosen = command(data_dir=tmp_path / "data", templates_dir=str(tmp_path / "other"))
    assert chosen == [COMMAND[0], "u.py", *COMMAND[2:]]


def test_what_is_no_template_file_is_named_by_its_path(tmp_path: Path) -> None:
    def words() -> str:
        with pytest.raises(Refused) as caught:
            parse_experiment(by_name(), catalogue=CATALOGUE, templates=TemplateFolder(tmp_path))
        [problem] = caught.value.problems
        assert problem.field == "spec.trialTemplate.configMap"
        return problem.message

    path = tmp_path / "kubeflow" / "trial-templates" / "job.yaml"
    begin = "unable to parse spec.trialTemplate: "
    assert words() == f"{begin}there is no file {path}"
    file = write(tmp_path, "x" * (MAX_YAML_BYTES + 1))
    assert words() == f"{begin}{path} is longer than {MAX_YAML_BYTES} bytes"
    file.write_bytes(b"\xff")
    assert words().startswith(f"{begin}{path} is no UTF-8 text")
    file.unlink()
    file.mkdir()
    assert words() == f"{begin}there is no file {path}"


class _Service:
    """An experiment service whose templates lie in a folder."""

    def __init__(self, world: StillWorld, folder: Path) -> None:
        self.world = world
        settings = Settings.model_validate({"templates_dir": str(folder)})
        self.commanding = Commanding(replace(world.parts(), settings=settings), CATALOGUE)

    async def apply(self, id_: str, obj: Object) -> CommandReply:
        subject = subjects.command("team", "exp", "apply")
        command = Command(id=id_, object=obj)
        [reply] = await self.commanding.respond([Request(subject=subject, data=command.to_bytes())])
        return CommandReply.from_bytes(reply or b"")

    @property
    def state(self) -> Experiment:
        [document] = self.world.store.documents("experiments")
        return EXPERIMENT.decode(document)


async def test_an_experiment_keeps_the_template_that_it_was_created_with(tmp_path: Path) -> None:
    world = StillWorld()
    await world.prepare()
    service = _Service(world, tmp_path)
    file = write(tmp_path, TEMPLATE)
    assert (await service.apply("c1", by_name())).accepted
    created = service.state

    file.write_text(TEMPLATE.replace("t.py", "u.py").replace("kind: Job", "kind: TFJob"))
    assert (await service.apply("c2", by_name())).accepted
    assert service.state.generation == created.generation
    file.unlink()
    assert (await service.apply("c3", by_name(maxTrialCount=20))).accepted
    assert service.state.spec == replace(created.spec, max_trial_count=20)


async def test_another_template_is_an_edit_that_is_refused(tmp_path: Path) -> None:
    world = StillWorld()
    await world.prepare()
    service = _Service(world, tmp_path)
    write(tmp_path, TEMPLATE)
    await service.apply("c1", by_name())
    other = by_name()
    other["spec"]["trialTemplate"]["configMap"]["configMapName"] = "others"
    reply = await service.apply("c2", other)
    assert [problem.field for problem in reply.problems] == ["spec.trialTemplate.configMap"]
    file = tmp_path / "kubeflow" / "others" / "job.yaml"
    file.parent.mkdir()
    file.write_text(TEMPLATE.replace("t.py", "u.py"))
    reply = await service.apply("c3", other)
    assert [problem.field for problem in reply.problems] == ["spec.trialTemplate", "spec"]


async def test_the_gateway_knows_the_template_that_an_experiment_has(tmp_path: Path) -> None:
    body = {"object": by_name()}
    path = "/v1/namespaces/team/experiments/exp"
    async with gateway_world(tmp_path) as world:
        refused = await world.client.put(path, json=body)
        assert refused.status_code == 422
        assert [it["field"] for it in refused.json()["problems"]] == [
            "spec.trialTemplate.configMap"
        ]
        file = write(tmp_path / "templates", TEMPLATE)
        assert (await world.client.put(path, json=body)).status_code == 201
        file.unlink()
        again = await world.client.put(path, json=body)
        assert (again.status_code, again.json()["changed"]) == (200, False)
