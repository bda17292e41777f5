"""What imported trials had reported goes to the metrics collector in messages that it can take."""

import pytest

from trialbus.contracts.chunks import PushReply, PushReport
from trialbus.contracts.commands import Command
from trialbus.contracts.documents import EXPERIMENT
from trialbus.kernel.limits import MAX_METRIC_NAME_CHARS, MAX_PAYLOAD_BYTES
from trialbus.kernel.spec import TrialsBy
from trialbus.ports.bus import Request
from trialbus.testkit.experiment_states import NOW, applied, spec
from trialbus.testkit.memory_bus import MemoryBus, MemoryClient
from trialbus.testkit.memory_store import MemoryStore
from trialbus_experiment.app.importing import Importing
from trialbus_experiment.core.commands import create

STATE = create(applied(spec(trials_by=TrialsBy.IMPORT, max_trial_count=None)), NOW)


class Collector(MemoryClient):
    """Takes every push."""

    def __init__(self) -> None:
        super().__init__(MemoryBus(), "experiment", 1.0)
        self.pushes: list[PushReport] = []

    async def request(self, request: Request, *, timeout_s: float) -> bytes:
        del timeout_s
        assert len(request.data) <= MAX_PAYLOAD_BYTES
        self.pushes.append(PushReport.from_bytes(request.data))
        return PushReply(accepted=True).to_bytes()


async def pushed(metric: str, values: list[float]) -> list[PushReport]:
    """Of one trial, in one portion."""
    times = [1709287200.123456 + i for i in range(len(values))]
    trial = {"parameters": {"x": 0.1}, "value": 0.5}
    series = [{"index": 0, "metric": metric, "values": values, "times": times}]
    portion = {"first": 0, "trials": [trial], "series": series}
    collector = Collector()
    importing = Importing(MemoryStore().client("experiment"), collector)
    await importing.write(Command(id="c", portion=portion), EXPERIMENT.encode(STATE))
    return collector.pushes


@pytest.mark.parametrize("metric", ["m" * MAX_METRIC_NAME_CHARS, "ä" * MAX_METRIC_NAME_CHARS])
async def test_points_that_no_message_holds_are_several_in_order(metric: str) -> None:
    values = [-1.2345678901234567e-300 * (i + 1) for i in range(3000)]
    pushes = await pushed(metric, values)
    assert len(pushes) > 1
    assert [point.value for push in pushes for point in push.points] == values
    assert len({push.id for push in pushes}) == len(pushes)
    again = await pushed(metric, values)
    assert again == pushes


async def test_points_that_a_message_holds_are_one() -> None:
    [push] = await pushed("loss", [0.5] * 2900)
    assert push.id == "import-c"
