"""Who answers workers, without a launcher: trials are given out and taken back in memory."""

from collections.abc import Sequence

from trialbus.contracts.messages import Request
from trialbus.contracts.work import (
    Answered,
    Ask,
    GivenTrial,
    Heartbeat,
    HeldTrial,
    Release,
    Reports,
    Tell,
    WorkReply,
    no_such_experiment,
)
from trialbus.contracts.work_events import WorkAsked, read_work
from trialbus.kernel.errors import Poison, Problem, Refused

PARAMETERS = {"lr": 0.25, "layers": 3, "optimizer": "adam"}


class WorkDesk:
    """experiments: names that are there, `<namespace>/<name>`. It keeps what it heard.

    drops: answers that are lost, although their requests had their effect. refused: what it says
    of words about trials that nobody has; None: nobody knows.
    """

    def __init__(self, *experiments: str) -> None:
        self.experiments = set(experiments)
        self.heard: list[WorkAsked] = []
        self.requests: list[Request] = []
        self.drops = 0
        self.refused: str | None = "was not given out"
        self.stop = ""
        self.empty = False
        self.results: dict[str, int] = {}
        self._given: dict[str, tuple[GivenTrial, ...]] = {}
        self._held: set[tuple[str, int]] = set()

    async def respond(self, requests: Sequence[Request]) -> Sequence[bytes | None]:
        return [self._respond(request) for request in requests]

    def _respond(self, request: Request) -> bytes | None:
        self.requests.append(request)
        try:
            reply = self._answer(read_work(request))
        except Refused as error:
            reply = WorkReply.refused(error.problems)
        except Poison as error:
            reply = WorkReply.refused([Problem(field="", message=str(error))])
        if self.drops:
            self.drops -= 1
            return None
        return reply.to_bytes()

    def _answer(self, asked: WorkAsked) -> WorkReply:
        self.heard.append(asked)
        if f"{asked.namespace}/{asked.name}" not in self.experiments:
            return no_such_experiment(asked.namespace, asked.name)
        match asked.body:
            case Ask() as ask:
                return self._reply(trials=self._give(ask))
            case Tell(results=results, ask=ask):
                answers = tuple(self._take(it) for it in results)
                return self._reply(answers, () if ask is None else self._give(ask))
            case Release(trials=trials):
                return self._reply(tuple(self._take(it) for it in trials))
            case Reports(reports=items) | Heartbeat(trials=items):
                return self._reply(tuple(self._answered(it) for it in items))

    def _reply(
        self, answers: tuple[Answered, ...] = (), trials: tuple[GivenTrial, ...] = ()
    ) -> WorkReply:
        return WorkReply(accepted=True, phase="Running", answers=answers, trials=trials)

    def _give(self, ask: Ask) -> tuple[GivenTrial, ...]:
        if self.empty:
            return ()
        if ask.id not in self._given:
            first = sum(map(len, self._given.values()))
            self._given[ask.id] = tuple(
                GivenTrial(
                    trial=f"tune-{index}",
                    attempt=1,
                    index=index,
                    parameters=PARAMETERS,
                    lease=ask.lease,
                    checkpoint=f"/checkpoints/{index}",
                    labels={"rung": "1"},
                )
                for index in range(first, first + ask.count)
            )
            self._held |= {(it.trial, it.attempt) for it in self._given[ask.id]}
        return self._given[ask.id]

    def _take(self, held: HeldTrial) -> Answered:
        """Its end, which is taken once."""
        answered = self._answered(held)
        if answered.accepted:
            self.results[held.trial] = self.results.get(held.trial, 0) + 1
            self._held.discard((held.trial, held.attempt))
        return answered

    def _answered(self, held: HeldTrial) -> Answered:
        is_held = (held.trial, held.attempt) in self._held
        return Answered(
            trial=held.trial,
            attempt=held.attempt,
            accepted=is_held,
            refused=None if is_held else self.refused,
            stop=self.stop,
        )
