"""Scenarios of the load tests are valid, can measure what they limit, and shrink for a try."""

import pytest
from loadtests.load.measures import figures_of, unknown_figures
from loadtests.load.people import MEANINGS, REQUESTS
from loadtests.load.scenario import FOLDER, Limit, Scenario, chosen, known, read
from pydantic import ValidationError

SCENARIOS = [read(path) for path in sorted(FOLDER.glob("*.yaml"))]
BY_NAME = {it.name: it for it in SCENARIOS}


def a_scenario(**changes: object) -> dict[str, object]:
    found: dict[str, object] = {
        "name": "some",
        "title": "Some",
        "about": "Something.",
        "order": 1,
        "seconds": 10,
        "experiments": [{"name": "echo", "trials": 100, "parallel": 4, "command": ["/bin/true"]}],
        "people": [{"kind": "reader", "count": 30, "of": ["echo"]}],
        "limits": [{"figure": "broken promises", "at_most": 0}],
    }
    return found | changes


def test_the_scenarios_that_the_project_promises_are_there() -> None:
    promised = {"laptop", "tuners", "large", "storm", "burst", "slowstore", "sustained"}
    assert promised <= set(BY_NAME)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda it: it.name)
def test_every_limit_is_of_a_figure_that_its_scenario_measures(scenario: Scenario) -> None:
    assert unknown_figures(scenario) == []


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda it: it.name)
def test_every_scenario_limits_what_must_never_happen(scenario: Scenario) -> None:
    never = {limit.figure for limit in scenario.limits if limit.at_most == 0}
    assert {"broken promises", "failed requests", "dead letters"} <= never


def test_the_sustained_run_is_an_hour_of_a_hundred_experiments_of_which_nothing_grows() -> None:
    sustained = BY_NAME["sustained"]
    tuners = sum(it.count for it in sustained.people if it.kind == "tuner")
    standing = sum(it.count for it in sustained.experiments)
    assert (sustained.seconds, tuners + standing) == (3600, 100)
    growing = {it.figure for it in sustained.limits if it.figure.startswith("growth of ")}
    services = ("experiment", "suggestion", "trial_launcher", "gateway", "mongod", "nats-server")
    assert {f"growth of {name}" for name in services} <= growing


def test_large_has_twenty_thousand_trials_and_burst_a_hundred_pipelines_at_once() -> None:
    assert BY_NAME["large"].experiments[0].trials == 20_000
    [over_http] = [it for it in BY_NAME["burst"].people if it.kind == "pipeline-http"]
    assert over_http.count == 100


def test_a_limit_of_a_figure_that_nobody_makes_is_told() -> None:
    limits = [{"figure": "ask over NATS, p99", "at_most": 1}]
    assert unknown_figures(Scenario.model_validate(a_scenario(limits=limits))) == [
        "ask over NATS, p99"
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"limits": []},
        {"limits": [{"figure": "dead letters"}]},
        {"limits": [{"figure": "dead letters", "at_most": 0, "at_least": 0}]},
        {"people": [{"kind": "reader", "count": 1, "of": ["other"]}]},
        {"people": [{"kind": "tuner", "count": 1, "of": ["echo"]}]},
        {"people": [{"kind": "pipeline-http", "count": 1, "of": ["echo"]}]},
        {"people": [{"kind": "reader", "count": 1, "of": ["echo"], "every": 3}]},
        {"experiments": [{"name": "echo", "trials": 1, "parallel": 1}]},
        {"experiments": [{"name": "e-o", "trials": 1, "parallel": 1, "by": "workers"}]},
        {"speed": 3},
    ],
)
def test_a_scenario_that_means_nothing_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Scenario.model_validate(a_scenario(**changes))


def test_a_try_is_smaller_and_shorter_with_at_least_one_of_each() -> None:
    small = Scenario.model_validate(a_scenario()).scaled(0.1, 3)
    assert (small.seconds, small.people[0].count) == (3, 3)
    assert (small.experiments[0].count, small.experiments[0].trials) == (1, 10)
    tiny = Scenario.model_validate(a_scenario()).scaled(0.01, None)
    assert (tiny.experiments[0].trials, tiny.experiments[0].parallel) == (1, 1)


def test_figures_of_other_work_are_told_apart_and_of_other_limits_are_not() -> None:
    whole = Scenario.model_validate(a_scenario())
    other_limits = whole.model_copy(update={"limits": (Limit(figure="redeliveries", at_most=1),)})
    assert whole.digest == other_limits.digest
    assert whole.digest != whole.scaled(0.5, None).digest


def test_all_are_chosen_without_names_the_longest_last() -> None:
    assert len({it.order for it in SCENARIOS}) == len(SCENARIOS)
    assert [it.name for it in chosen([])] == known()
    assert known()[-1] == "sustained"
    with pytest.raises(KeyError, match="there are"):
        chosen(["nothing"])


def test_every_kind_of_people_is_explained_and_measured() -> None:
    assert MEANINGS.keys() == REQUESTS.keys()
    figures = figures_of(BY_NAME["tuners"])
    assert figures["tell and ask over NATS, p99"] == "s"
    assert figures["event streamed, a second"] == "1/s"
