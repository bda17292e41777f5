"""Subjects are built and parsed in one place, and no name reaches beyond its token."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialbus.contracts import subjects
from trialbus.kernel import ids, limits
from trialbus.kernel.events import EVENT_TYPES

BAD_NAMES = ["", "*", ">", "a.b", "A", "a b", "-a", "a\r\nPUB x", "a" * 64, "é", "a_b"]
NAMES = st.from_regex(ids.NAME_PATTERN, fullmatch=True)


def test_an_event_subject_names_namespace_experiment_and_type() -> None:
    subject = subjects.event("team-a", "quick-start", "trial.metrics_unavailable")
    assert subject == "trialbus.v1.evt.team-a.quick-start.trial.metrics_unavailable"
    assert subjects.parse_event(subject) == subjects.EventSubject(
        namespace="team-a", experiment="quick-start", type="trial.metrics_unavailable"
    )


def test_a_command_subject_names_namespace_experiment_and_verb() -> None:
    subject = subjects.command("team-a", "quick-start", "edit_budget")
    assert subject == "trialbus.v1.cmd.team-a.quick-start.edit_budget"
    assert subjects.parse_command(subject) == subjects.CommandSubject(
        namespace="team-a", experiment="quick-start", verb="edit_budget"
    )


def test_a_metric_subject_names_namespace_experiment_and_trial() -> None:
    subject = subjects.metric("team-a", "quick-start", "quick-start-bcdfghjk")
    assert subject == "trialbus.v1.metric.team-a.quick-start.quick-start-bcdfghjk"
    assert subjects.parse_metric(subject) == subjects.MetricSubject(
        namespace="team-a", experiment="quick-start", trial="quick-start-bcdfghjk"
    )


@pytest.mark.parametrize("bad", BAD_NAMES)
def test_a_name_that_is_no_single_token_is_refused_everywhere(bad: str) -> None:
    builders: list[Callable[[], str]] = [
        lambda: subjects.event(bad, "e", "trial.created"),
        lambda: subjects.event("n", bad, "trial.created"),
        lambda: subjects.command(bad, "e", "stop"),
        lambda: subjects.command("n", bad, "stop"),
        lambda: subjects.metric(bad, "e", "t"),
        lambda: subjects.metric("n", bad, "t"),
        lambda: subjects.metric("n", "e", bad),
        lambda: subjects.events(namespace=bad),
        lambda: subjects.events(experiment=bad),
    ]
    for build in builders:
        with pytest.raises(ValueError, match="not a name"):
            build()


@pytest.mark.parametrize("bad", ["", "*", ">", "Stop", "stop.now", "stop-now", "stop ", "_stop"])
def test_a_word_that_is_no_word_is_refused(bad: str) -> None:
    builders: list[Callable[[], str]] = [
        lambda: subjects.command("n", "e", bad),
        lambda: subjects.event("n", "e", f"trial.{bad}"),
        lambda: subjects.commands(bad),
        lambda: subjects.durable(bad, 0),
        lambda: subjects.dead_letter(bad),
    ]
    for build in builders:
        with pytest.raises(ValueError, match="not a word"):
            build()


@pytest.mark.parametrize(
    "subject",
    [
        "trialbus.v1.evt.n.e.trial",
        "trialbus.v1.evt.n.e.trial.created.more",
        "trialbus.v1.evt.n.*.trial.created",
        "trialbus.v1.cmd.n.e.trial.created",
        "trialbus.v1.evtn.e.trial.created",
        "",
    ],
)
def test_what_is_no_event_subject_is_not_parsed(subject: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        subjects.parse_event(subject)


def test_patterns_leave_open_what_is_not_given() -> None:
    assert subjects.events() == "trialbus.v1.evt.*.*.*.*"
    assert subjects.events(namespace="n") == "trialbus.v1.evt.n.*.*.*"
    assert subjects.events(experiment="e", event_type="run.lost") == "trialbus.v1.evt.*.e.run.lost"
    assert subjects.experiment_events() == "trialbus.v1.evt.*.*.experiment.*"
    assert subjects.commands() == "trialbus.v1.cmd.*.*.*"
    assert subjects.commands("stop") == "trialbus.v1.cmd.*.*.stop"
    assert subjects.metrics() == "trialbus.v1.metric.*.*.*"


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.c", False),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("a.*", "a", False),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        ("*.b.>", "a.b.c", True),
        ("*.b.>", "a.c.c", False),
    ],
)
def test_patterns_match_as_the_server_matches(pattern: str, subject: str, expected: bool) -> None:
    assert subjects.matches(pattern, subject) is expected


@pytest.mark.parametrize("bad", ["", "a..b", "a.*", "a.>", "a b", "a.b\r\n", "a.", "a.b*"])
def test_a_subject_with_wildcards_gaps_or_spaces_is_not_literal(bad: str) -> None:
    with pytest.raises(ValueError, match="not a literal subject"):
        subjects.literal(bad)
    assert subjects.literal("a.b-c._d") == "a.b-c._d"


# Read off a nats-server 2.15.1: a stream with the same transform, names "default" and "e<n>".
SERVER_PARTITIONS = {0: 3, 1: 0, 2: 9, 3: 6, 4: 15, 5: 12, 6: 5, 7: 2, 8: 11, 9: 8, 10: 0, 19: 11}


@pytest.mark.parametrize(("number", "partition"), SERVER_PARTITIONS.items())
def test_the_partition_is_the_one_that_the_server_computes(number: int, partition: int) -> None:
    assert subjects.partition_of("default", f"e{number}") == partition


@given(NAMES, NAMES, st.sampled_from(sorted(EVENT_TYPES)))
def test_every_event_subject_comes_back_from_its_stored_form(
    namespace: str, experiment: str, event_type: str
) -> None:
    plain = subjects.event(namespace, experiment, event_type)
    partition = subjects.partition_of(namespace, experiment)
    stored = plain.replace("trialbus.v1.evt", f"trialbus.v1.part.{partition}", 1)
    assert subjects.plain(stored) == plain
    assert subjects.matches(subjects.stored_filter(partition, event_type), stored)
    assert subjects.matches(subjects.stored_pattern(subjects.events()), stored)
    assert subjects.matches(subjects.stored_pattern("trialbus.v1.evt.>"), stored)
    other = (partition + 1) % limits.PARTITIONS
    assert not subjects.matches(subjects.stored_filter(other, event_type), stored)


@pytest.mark.parametrize("partition", [-1, limits.PARTITIONS])
def test_there_is_no_partition_beyond_the_last(partition: int) -> None:
    with pytest.raises(ValueError, match="no such partition"):
        subjects.stored_filter(partition, "trial.created")


def test_durables_and_dead_letters_are_in_kebab_case() -> None:
    assert subjects.durable("trial_launcher", 7) == "trial-launcher-07"
    assert subjects.dead_letter("trial_launcher") == "trialbus.v1.dead.trial-launcher"
    assert subjects.matches(
        subjects.DEAD_LETTER_STREAM_SUBJECT, subjects.dead_letter("trial_launcher")
    )
