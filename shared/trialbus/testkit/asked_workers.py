"""Workers in the simulated world: they ask, report, tell, die in between, and repeat what got no
answer."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from trialbus.contracts import subjects
from trialbus.contracts.envelope import Body
from trialbus.contracts.work import (
    Ask,
    GivenTrial,
    Heartbeat,
    HeldTrial,
    Release,
    Report,
    Reports,
    Result,
    Tell,
    WorkReply,
    WorkVerb,
)
from trialbus.testkit.world import World

# Longer than a lost message costs: it is said again after five seconds.
LEASE_S = 10.0
_WAIT_S = 3.0
_PAUSE_S = 0.2
_Key = tuple[str, int]


@dataclass(slots=True)
class Crew:
    """What all workers of one experiment did. quiet: they never die, and tell nothing but the end,
    eight trials at a time. given: how often each attempt was handed to somebody
    under a new ask. told: accepted results by trial name. points: accepted reports by attempt."""

    namespace: str
    experiment: str
    quiet: bool = False
    given: dict[_Key, int] = field(default_factory=dict)
    told: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    points: dict[_Key, list[float]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    deaths: int = 0


class Worker:
    """One process that works until its experiment is over. fate: how it behaves."""

    def __init__(self, world: World, crew: Crew, name: str, rng: Random, *, mortal: bool) -> None:
        self._world = world
        self._crew = crew
        self._name = name
        self._rng = rng
        self._mortal = mortal
        self._asks = 0

    async def run(self) -> None:
        while True:
            self._asks += 1
            ask = Ask(
                id=f"{self._name}-{self._asks}",
                worker=self._name,
                count=8 if self._crew.quiet else self._rng.randrange(1, 4),
                lease=LEASE_S,
                wait=_WAIT_S,
            )
            reply = await self._say(WorkVerb.ASK, ask)
            if reply.over:
                return
            for trial in reply.trials:
                key = (trial.trial, trial.attempt)
                self._crew.given[key] = self._crew.given.get(key, 0) + 1
            if self._mortal and self._rng.random() < 0.1:
                self._crew.deaths += 1  # and another of the same kind comes
                continue
            if self._crew.quiet:
                await self._tell([(it, float(it.parameters["x"]) ** 2) for it in reply.trials])
                continue
            waiting = list(reply.trials)
            while waiting:
                trial = waiting.pop(0)
                waiting = await self._still_held(waiting)
                await self._work(trial)

    async def _still_held(self, trials: list[GivenTrial]) -> list[GivenTrial]:
        """Those that wait until others are done are not forgotten."""
        if not trials:
            return []
        held = tuple(HeldTrial(trial=it.trial, attempt=it.attempt) for it in trials)
        reply = await self._say(WorkVerb.HEARTBEAT, Heartbeat(trials=held))
        return [it for it, answer in zip(trials, reply.answers, strict=True) if answer.accepted]

    async def _work(self, trial: GivenTrial) -> None:
        """A few steps of its loss, then its end; sometimes nothing but the end."""
        loss = float(trial.parameters["x"]) ** 2
        for step in range(1, self._rng.randrange(1, 5)):
            await self._world.clock.sleep(self._rng.choice([0.001, 0.3, 1.0]))
            if self._mortal and self._rng.random() < 0.05:
                self._crew.deaths += 1
                return
            value = loss + 3.0 / step
            report = Report(
                trial=trial.trial, attempt=trial.attempt, step=step, metrics={"loss": value}
            )
            [answer] = (await self._say(WorkVerb.REPORT, Reports(reports=(report,)))).answers
            if not answer.accepted or answer.stop:
                self._crew.refused += [answer.refused] if answer.refused else []
                return
            self._crew.points.setdefault((trial.trial, trial.attempt), []).append(value)
        await self._end(trial, loss)

    async def _end(self, trial: GivenTrial, loss: float) -> None:
        if self._mortal and self._rng.random() < 0.05:
            held = HeldTrial(trial=trial.trial, attempt=trial.attempt)
            await self._say(WorkVerb.RELEASE, Release(trials=(held,)))
            return
        await self._tell([(trial, loss)])

    async def _tell(self, ended: Sequence[tuple[GivenTrial, float]]) -> None:
        results = tuple(
            Result(
                trial=trial.trial,
                attempt=trial.attempt,
                metrics={"loss": loss},
                reported=self._rng.choice(
                    [None, (trial.trial, trial.attempt) in self._crew.points]
                ),
            )
            for trial, loss in ended
        )
        if not results:
            return
        reply = await self._say(WorkVerb.TELL, Tell(results=results))
        for (trial, loss), answer in zip(ended, reply.answers, strict=True):
            if answer.accepted:
                self._crew.told.setdefault(trial.trial, []).append((trial.attempt, loss))
            elif answer.refused is not None:
                self._crew.refused.append(answer.refused)

    async def _say(self, verb: WorkVerb, body: Body) -> WorkReply:
        """Repeated until everything in it is answered."""
        subject = subjects.command(self._crew.namespace, self._crew.experiment, verb.value)
        while True:
            answer = await self._world.command(subject, body.to_bytes())
            reply = WorkReply.from_bytes(answer)
            if not reply.accepted:
                raise AssertionError(reply.problems)
            if all(it.accepted or it.refused is not None for it in reply.answers):
                return reply
            await self._world.clock.sleep(_PAUSE_S)


async def work_all(world: World, crews: Mapping[str, Crew], seed: int, count: int) -> None:
    """So many workers for each experiment, until all are over."""
    workers = [
        Worker(
            world,
            crew,
            f"{name}-{n}",
            Random(f"{seed}/{name}/{n}"),
            mortal=n > 0 and not crew.quiet,
        )
        for name, crew in crews.items()
        for n in range(count)
    ]
    await asyncio.gather(*(worker.run() for worker in workers))
