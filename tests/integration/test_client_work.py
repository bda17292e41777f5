"""Workers of the Python client, over real HTTP, beside a gateway that says what a test wants."""

import asyncio
from collections.abc import Iterator

import pytest

import trialbus
from trialbus.testkit.fake_work import NAME, FakeWork, WorkGateway, serving_work
from trialbus.testkit.waits import until, until_sync


@pytest.fixture
def work() -> FakeWork:
    return FakeWork()


@pytest.fixture
def gateway(work: FakeWork) -> Iterator[WorkGateway]:
    with serving_work(work) as gateway:
        yield gateway


@pytest.fixture
def client(gateway: WorkGateway) -> Iterator[trialbus.Client]:
    with trialbus.Client(gateway.url, timeout=5.0) as client:
        yield client


def test_a_trial_is_asked_for_and_told(client: trialbus.Client, work: FakeWork) -> None:
    with client.ask(NAME) as trial:
        assert (trial.name, trial.attempt, trial.index) == (f"{NAME}-0", 1, 0)
        assert trial.parameters == {"x": 0}
        assert str(trial.checkpoint) == "/checkpoints/0"
        assert trial.parent_checkpoint is None
        trial.report(1, loss=0.5)
        trial.report({"f1/a": 0.25}, accuracy=1)
        assert not trial.should_stop()
        trial.tell(0.4)
    told = work.results[f"{NAME}-0"]
    assert (told["state"], told["metrics"]) == ("succeeded", {"loss": 0.4})
    first, second = work.reports
    assert (first["step"], first["metrics"]) == (1, {"loss": 0.5})
    assert second["metrics"] == {"f1/a": 0.25, "accuracy": 1.0}
    assert second["id"]
    assert "step" not in second


def test_what_was_reported_last_is_the_result_of_who_tells_none(
    client: trialbus.Client, work: FakeWork
) -> None:
    with client.ask(NAME) as trial:
        trial.report(1, loss=0.5, accuracy=0.1)
        trial.report(2, loss=0.3)
    assert work.results[f"{NAME}-0"]["metrics"] == {"loss": 0.3, "accuracy": 0.1}


def test_leaving_without_the_objective_says_what_is_missing(
    client: trialbus.Client, work: FakeWork
) -> None:
    wanted = "no value of 'loss' was told or reported; there is 'accuracy'"
    with pytest.raises(trialbus.NothingTold, match=wanted), client.ask(NAME) as trial:
        trial.report(1, accuracy=0.1)
    told = work.results[f"{NAME}-0"]
    assert told["state"] == "failed"
    assert wanted in told["message"]


def test_an_exception_fails_the_trial_and_goes_on_up(
    client: trialbus.Client, work: FakeWork
) -> None:
    with pytest.raises(ZeroDivisionError), client.ask(NAME):
        _ = 1 / 0
    told = work.results[f"{NAME}-0"]
    assert (told["state"], told["message"]) == ("failed", "ZeroDivisionError: division by zero")


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_gives_the_trial_back(
    client: trialbus.Client, work: FakeWork, end: type[BaseException]
) -> None:
    with pytest.raises(end), client.ask(NAME):
        raise end
    assert work.results == {}
    with client.ask(NAME) as trial:
        assert (trial.name, trial.attempt) == (f"{NAME}-0", 2)
        trial.tell(loss=1)


def test_a_loop_works_until_the_experiment_is_over_and_tells_in_groups(
    client: trialbus.Client, work: FakeWork
) -> None:
    work.trials = 40
    for trial in client.work_on(NAME, ahead=8):
        with trial:
            trial.tell(loss=trial.parameters["x"])
    assert {name: it["metrics"]["loss"] for name, it in work.results.items()} == {
        f"{NAME}-{x}": x for x in range(40)
    }
    # One exchange for eight trials; a slow machine may have told some in between.
    assert work.count("tell") <= 20
    assert work.out == {}


def test_a_failure_in_the_loop_is_its_trials_alone(client: trialbus.Client, work: FakeWork) -> None:
    work.trials = 3
    for trial in client.work_on(NAME):
        try:
            with trial:
                trial.tell(loss=1 / (trial.parameters["x"] - 1))
        except ZeroDivisionError:
            assert trial.index == 1
    states = [work.results[f"{NAME}-{x}"]["state"] for x in range(3)]
    assert states == ["succeeded", "failed", "succeeded"]


def test_leaving_the_loop_tells_what_is_done_and_gives_back_the_rest(
    client: trialbus.Client, work: FakeWork
) -> None:
    for trial in client.work_on(NAME, ahead=4):
        if trial.index == 1:
            break
        with trial:
            trial.tell(loss=0.0)
    assert list(work.results) == [f"{NAME}-0"]
    assert sorted(name for name, _ in work.back) == [f"{NAME}-{x}" for x in (1, 2, 3)]
    assert work.out == {}


def test_results_do_not_wait_for_a_slow_trial(client: trialbus.Client, work: FakeWork) -> None:
    for trial in client.work_on(NAME, ahead=8):
        with trial:
            if trial.index == 1:
                until_sync(lambda: f"{NAME}-0" in work.results, "the first is told")
            trial.tell(loss=0.0)
        if trial.index == 1:
            break
    assert f"{NAME}-0" in work.results


def test_a_long_trial_keeps_its_lease_and_those_leased_ahead(
    client: trialbus.Client, work: FakeWork
) -> None:
    work.lease_s = 0.3
    trials = client.work_on(NAME, ahead=3)
    trial = next(trials)
    until_sync(lambda: work.count("heartbeat") >= 3, "three heartbeats", within_s=20)
    for verb, body in work.said:
        if verb == "heartbeat":
            assert {it["trial"] for it in body["trials"]} <= {f"{NAME}-{x}" for x in range(3)}
    trial.tell(loss=1)
    trials.close()  # type: ignore[attr-defined]


def test_a_lost_lease_is_told_at_the_next_word(client: trialbus.Client, work: FakeWork) -> None:
    work.refused[f"{NAME}-0"] = ("the lease is over: nothing was heard", "Lost")
    with pytest.raises(trialbus.LeaseLost, match="the lease is over"), client.ask(NAME) as trial:
        trial.report(1, loss=0.5)
    assert trial.should_stop()
    assert work.count("tell") == 0
    with pytest.raises(trialbus.LeaseLost):
        trial.tell(loss=0.5)


def test_a_trial_that_the_experiment_has_stopped_ends_without_a_fuss(
    client: trialbus.Client, work: FakeWork
) -> None:
    with client.ask(NAME) as trial:
        trial.report(1, loss=0.5)
        work.stops[trial.name] = "EarlyStopped"
        trial.report(2, loss=0.4)
        assert trial.should_stop()
        assert trial.stop_reason == "EarlyStopped"
        work.refused[trial.name] = ("it was stopped: EarlyStopped", "EarlyStopped")
        trial.report(3, loss=0.4)
    assert work.count("tell") == 0 or f"{NAME}-0" not in work.results


def test_what_nobody_knows_is_said_again_until_it_is_known(
    client: trialbus.Client, work: FakeWork
) -> None:
    with client.ask(NAME) as trial:
        work.unknown = 2
        trial.report(loss=0.5)
        ids = [body["reports"][0]["id"] for verb, body in work.said if verb == "report"]
        assert len(ids) == 3
        assert len(set(ids)) == 1
        work.unknown = 1
        trial.tell(loss=0.5)
    assert work.count("tell") == 2


def test_an_ask_that_was_not_answered_is_the_same_ask_again(
    client: trialbus.Client, gateway: WorkGateway, work: FakeWork
) -> None:
    gateway.faults = [(503, {"message": "away"}), (429, {"message": "too much"})]
    with client.ask(NAME) as trial:
        trial.tell(loss=1)
    asked = [what for what in gateway.asked if what.endswith("/ask")]
    assert len(asked) == 3
    assert work.count("ask") == 1


def test_what_was_obeyed_and_not_answered_is_obeyed_once(
    client: trialbus.Client, gateway: WorkGateway, work: FakeWork
) -> None:
    work.trials = 8
    gateway.lost = 1
    for trial in client.work_on(NAME, ahead=4):
        gateway.lost = 1
        with trial:
            trial.report(loss=1.0)
            gateway.lost = 1
            trial.tell(loss=0.5)
    assert work.opened == len(work.results) == 8
    assert work.out == {}
    ids = [it["id"] for it in work.reports]
    assert (len(ids), len(set(ids))) == (16, 8)


def test_nothing_more_to_do_is_an_error_of_its_own(client: trialbus.Client, work: FakeWork) -> None:
    work.trials = 0
    with pytest.raises(trialbus.ExperimentOver, match="Succeeded"):
        client.ask(NAME)
    work.trials, work.parallel = 1, 0
    with pytest.raises(trialbus.TimedOut):
        client.ask(NAME, timeout=0.0)


def test_report_metrics_in_the_block_is_a_report_of_that_trial(
    client: trialbus.Client, work: FakeWork, capfd: pytest.CaptureFixture[str]
) -> None:
    with client.ask(NAME) as trial:
        trialbus.report_metrics(1, loss=0.5)
        assert not trialbus.should_stop()
        assert str(trial.checkpoint) == "/checkpoints/0"
        trial.tell(loss=1)
    trialbus.report_metrics(1, loss=0.5)
    assert [it["metrics"] for it in work.reports] == [{"loss": 0.5}]
    assert capfd.readouterr().out == "step=1 loss=0.5\n"


async def test_the_async_client_works_just_so(gateway: WorkGateway, work: FakeWork) -> None:
    work.trials, work.lease_s = 12, 0.3
    async with trialbus.AsyncClient(gateway.url, timeout=5.0) as client:
        async with client.ask(NAME) as trial:
            await trial.report(1, loss=0.5)
        with pytest.raises(ZeroDivisionError):
            async with client.ask(NAME):
                _ = 1 / 0
        async for trial in client.work_on(NAME, ahead=4):
            async with trial:
                if trial.index == 2:
                    await until(lambda: work.count("heartbeat") >= 2, "two heartbeats")
                await trial.tell(loss=trial.parameters["x"])
        with pytest.raises(trialbus.ExperimentOver):
            await client.ask(NAME)
    states = [work.results[f"{NAME}-{x}"]["state"] for x in range(12)]
    assert states == ["succeeded", "failed", *["succeeded"] * 10]
    assert work.count("heartbeat") >= 2


async def test_a_cancelled_async_worker_gives_its_trial_back(
    gateway: WorkGateway, work: FakeWork
) -> None:
    async with trialbus.AsyncClient(gateway.url, timeout=5.0) as client:
        begun = asyncio.Event()

        async def worker() -> None:
            async with client.ask(NAME):
                begun.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(worker())
        await begun.wait()
        task.cancel()
        await asyncio.wait([task])
    assert work.back == [(f"{NAME}-0", 2)]
