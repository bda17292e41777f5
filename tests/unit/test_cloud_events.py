"""CloudEvents that others send, and the commands that they are."""

from collections.abc import Mapping
from typing import Any

import pytest

from trialbus.contracts.cloud_events import (
    CloudEvent,
    from_binary,
    from_structured,
    is_batch,
    is_structured,
)
from trialbus.contracts.command_events import VERBS, event_type, read_command
from trialbus.contracts.commands import NOT_THERE, Verb
from trialbus.kernel.errors import Refused

BARE = {"specversion": "1.0", "id": "e-1", "source": "/ci/nightly", "type": "a.b"}
OBJECT = {"metadata": {"namespace": "lab", "name": "tune"}}


def problems_of(event: Any) -> set[str]:
    with pytest.raises(Refused) as caught:
        from_structured(event)
    return {problem.field for problem in caught.value.problems}


def command(verb: str, data: Any = None, **more: Any) -> CloudEvent:
    return from_structured({**BARE, "type": event_type(verb), "data": data, **more})


def refused_fields(event: CloudEvent) -> set[str]:
    with pytest.raises(Refused) as caught:
        read_command(event)
    return {problem.field for problem in caught.value.problems}


def test_the_same_event_in_both_modes() -> None:
    structured = from_structured(
        {**BARE, "subject": "lab/tune", "data": {"a": 1}, "experimentuid": "u"}
    )
    binary = from_binary(
        {
            "Ce-Specversion": "1.0",
            "CE-ID": "e-1",
            "ce-source": "/ci/nightly",
            "ce-type": "a.b",
            "ce-subject": "lab%2Ftune",
            "ce-experimentuid": "u",
            "Content-Type": "application/json; charset=utf-8",
        },
        b'{"a": 1}',
    )
    assert structured == binary
    assert structured.extensions == {"experimentuid": "u"}


def test_content_types_say_the_mode() -> None:
    assert is_structured("application/cloudevents+json; charset=UTF-8")
    assert not is_structured("application/json")
    assert is_batch("application/cloudevents-batch+json")


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"specversion": "0.3"}, {"specversion"}),
        ({"id": "", "source": None, "type": 3}, {"id", "source", "type"}),
        ({"id": "a\nb"}, {"id"}),
        ({"id": "a" * 257}, {"id"}),
        ({"time": "yesterday"}, {"time"}),
        ({"datacontenttype": "text/xml"}, {"datacontenttype"}),
        ({"data_base64": "AAAA"}, {"data_base64"}),
        ({"Upper": "x"}, {"Upper"}),
        ({"nested": {"a": 1}}, {"nested"}),
        ({f"x{i}": "v" for i in range(40)}, {""}),
    ],
)
def test_every_problem_of_an_event_is_said(changes: Mapping[str, Any], fields: set[str]) -> None:
    assert problems_of({**BARE, **changes}) == fields


@pytest.mark.parametrize("event", [None, [], "x", 3])
def test_what_is_no_object_is_no_event(event: Any) -> None:
    assert problems_of(event) == {""}


def test_data_that_is_no_json_is_refused() -> None:
    headers = {f"ce-{name}": value for name, value in BARE.items()}
    with pytest.raises(Refused, match="is not JSON"):
        from_binary(headers, b"{")


def test_an_event_names_its_command_and_experiment() -> None:
    created = read_command(command("create", OBJECT, workingdir="/work"))
    assert (created.namespace, created.name, created.verb) == ("lab", "tune", "create")
    assert created.command.object == OBJECT
    assert (created.command.revision, created.command.working_dir) == (NOT_THERE, "/work")
    assert read_command(command("apply", OBJECT)).command.revision is None
    edited = read_command(command("edit", {"goal": None}, subject="lab/tune"))
    assert edited.command.edit == {"goal": None}
    deleted = read_command(command("delete", {"keepHistory": True}, subject="tune"))
    assert (deleted.namespace, deleted.command.keep_history) == ("default", True)
    stopped = read_command(command("stop", subject="lab/tune", experimentuid="u"))
    assert stopped.command.uid == "u"


def test_every_verb_has_an_event() -> None:
    assert set(VERBS) == {"create", *(verb.value for verb in Verb)}


def test_source_and_id_together_name_a_command() -> None:
    ids = {
        read_command(command("stop", subject="tune", source=source, id=id_)).command.id
        for source, id_ in [("/a", "1"), ("/a", "2"), ("/b", "1"), ("/a", "1")]
    }
    assert len(ids) == 3


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        (from_structured(BARE), {"type"}),
        (command("observe"), {"type"}),
        (command("create"), {"data"}),
        (command("create", [1]), {"data"}),
        (command("create", {"metadata": {"name": "Bad_Name"}}), {"data.metadata"}),
        (command("create", {"metadata": 3}), {"data.metadata"}),
        (command("create", OBJECT, subject="lab/other"), {"subject"}),
        (command("edit", {}, subject="tune"), {"data"}),
        (command("stop"), {"subject"}),
        (command("stop", subject="a/b/c"), {"subject"}),
        (command("stop", {"x": 1}, subject="tune"), {"data.x"}),
        (command("delete", {"keepHistory": "yes"}, subject="tune"), {"data.keepHistory"}),
    ],
)
def test_every_problem_of_a_command_is_said(event: CloudEvent, fields: set[str]) -> None:
    assert refused_fields(event) == fields


def test_a_missing_name_is_called_missing() -> None:
    with pytest.raises(Refused) as refused:
        read_command(command("create", {"metadata": {"generateName": "nightly-"}}))
    assert [it.message for it in refused.value.problems] == ["the name is missing"]
