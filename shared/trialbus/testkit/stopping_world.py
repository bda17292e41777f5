"""One experiment with a stopping rule, as the other services would write it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from trialbus.contracts.collections import CHUNKS, EVIDENCE, TRIALS
from trialbus.contracts.documents import CHUNK, TRIAL, DocumentCodec
from trialbus.kernel.chunks import Chunk, Series
from trialbus.kernel.evidence import StoppingVerdict, StoredVerdict
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.ids import chunk_id, run_id, trial_id, trial_name
from trialbus.kernel.spec import AlgorithmSpec
from trialbus.kernel.trial import Trial, TrialPhase
from trialbus.runtime.parts import Beside, Reactor
from trialbus.testkit.still_world import UID, StillWorld, experiment, opened
from trialbus_early_stopping.main import service

RULE = AlgorithmSpec(
    name="medianstop", settings=(("min_trials_required", "2"), ("start_step", "2"))
)
VERDICT = DocumentCodec(StoredVerdict)


@dataclass
class StoppingWorld(StillWorld):
    """ends: of the runs that have reported, by id: bytes and steps."""

    experiment: Experiment = field(default_factory=lambda: experiment(rule=RULE))
    ends: dict[str, tuple[int, int]] = field(default_factory=dict)

    async def change(self, **changes: Any) -> None:
        self.experiment = replace(self.experiment, **changes)
        await self.put(self.experiment)

    async def open(self, *indices: int, attempt: int = 1) -> None:
        trials = {str(index): opened(attempt) for index in indices}
        await self.change(open={**self.experiment.open, **trials})

    async def report(self, index: int, *losses: float, final: bool = False) -> None:
        """One chunk of attempt 1, of ten bytes a point."""
        run = run_id(UID, index, 1)
        begin, steps = self.ends.get(run, (0, 0))
        end = begin + 10 * len(losses) + 5
        self.ends[run] = (end, steps + len(losses))
        times = tuple(float(n) for n in range(len(losses)))
        chunk = Chunk(
            id=chunk_id(run, begin),
            uid=UID,
            run=run,
            version=1,
            from_byte=begin,
            to_byte=end,
            series=(
                Series(metric="other", first_step=steps + 1, values=(0.0,), times=(0.0,)),
                Series(metric="loss", first_step=steps + 1, values=losses, times=times),
            ),
            summaries=(),
            final=final,
            final_run=run if final else None,
            stored_at=0.0,
        )
        await self.insert(CHUNKS.name, CHUNK.encode(chunk))

    async def close(self, index: int, phase: TrialPhase, *, written: bool = True) -> None:
        """Take a trial out of `open`. written: its document follows at once."""
        finished = self.experiment.finished + 1
        still = {key: it for key, it in self.experiment.open.items() if key != str(index)}
        await self.change(finished=finished, open=still)
        if written:
            await self.write_trial(index, phase, finished)

    async def write_trial(self, index: int, phase: TrialPhase, finished: int) -> None:
        trial = Trial(
            id=trial_id(UID, index),
            uid=UID,
            version=1,
            namespace="team",
            experiment="tune",
            index=index,
            name=trial_name("tune", UID, index),
            phase=phase,
            assignments=(),
            conditions=(),
            created_at=0.0,
            finished=finished,
        )
        await self.insert(TRIALS.name, TRIAL.encode(trial))

    async def complete(self, index: int, *losses: float) -> None:
        await self.report(index, *losses, final=True)
        await self.close(index, TrialPhase.SUCCEEDED)

    async def start(self, replica: str = "a") -> Reactor:
        behaviour = await service.build(self.parts(replica))
        assert behaviour.reactor is not None
        return behaviour.reactor

    @property
    def evidence(self) -> dict[str, dict[str, Any]]:
        return {it["_id"]: it for it in self.store.documents(EVIDENCE.name)}

    @property
    def verdicts(self) -> dict[int, StoppingVerdict]:
        """By trial index, as the launcher reads them."""
        read = [VERDICT.decode(document) for document in self.evidence.values()]
        return {int(it.id.split(".")[1]): it.verdict for it in read if it.verdict is not None}


async def react(reactor: Reactor) -> Mapping[str, Exception | Beside]:
    """As to a hint; what failed."""
    return await reactor.react([UID])


async def with_two_completed(rule: AlgorithmSpec = RULE) -> StoppingWorld:
    """Running averages: 1, 2, 3 and 3, 3, 3: the median is 2, 2.5, 3, 3, ..."""
    world = StoppingWorld(experiment=experiment(rule=rule))
    await world.prepare(world.experiment)
    await world.complete(0, 1.0, 3.0, 5.0)
    await world.complete(1, 3.0, 3.0, 3.0)
    await world.open(2, 3)
    return world
