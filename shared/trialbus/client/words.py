"""What workers say, as conversations: asked again until it is known what became of each item."""

import math
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pydantic import ValidationError

from trialbus.client.calls import BusWord, Call, Flow, Pause, good
from trialbus.client.failures import (
    ExperimentOver,
    NotThere,
    Refused,
    ServerFailed,
    TimedOut,
    Unavailable,
)
from trialbus.client.held import Held
from trialbus.client.patience import Patience, patiently
from trialbus.contracts.envelope import Body
from trialbus.contracts.http_paths import experiment_path
from trialbus.contracts.work import (
    Answered,
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
from trialbus.kernel.errors import Problem
from trialbus.kernel.limits import MAX_WORK_ITEMS

FIRST_PAUSE_S, LAST_PAUSE_S = 0.05, 1.0
# How long one ask waits for a trial, where there is none just now.
ASK_WAIT_S = 20.0
Item = TypeVar("Item", Report, Result, HeldTrial)


@dataclass(frozen=True, slots=True)
class Workplace:
    """The experiment whose trials are worked on."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """over: there will be no more, as `phase` says."""

    trials: tuple[GivenTrial, ...] = ()
    over: bool = False
    phase: str = ""


def say(
    place: Workplace, verb: WorkVerb, body: Body, patience: Patience, holds_s: float = 0.0
) -> Flow[WorkReply]:
    """Raises Refused, NotThere and the like when the request as a whole is not taken."""
    data = body.to_bytes()
    call = Call(
        method="POST",
        path=experiment_path(place.namespace, place.name, verb.value),
        body=data,
        holds_s=holds_s,
        bus=BusWord(namespace=place.namespace, name=place.name, verb=verb.value, body=data),
    )
    answer = good((yield from patiently(call, patience)))
    try:
        reply = WorkReply.model_validate_json(answer.body)
    except ValidationError as error:
        raise ServerFailed(f"no answer to a worker: {answer.body[:200]!r}") from error
    if not reply.accepted:
        problems = [Problem(field=it.field, message=it.message) for it in reply.problems]
        if not problems:
            raise NotThere(f"there is no experiment {place.namespace}/{place.name}")
        raise Refused(f"{verb.value} of {place.namespace}/{place.name} is refused", problems)
    return reply


def ask(place: Workplace, body: Ask, patience: Patience) -> Flow[Given]:
    reply = yield from say(place, WorkVerb.ASK, body, patience, holds_s=body.wait)
    return Given(trials=reply.trials, over=reply.over, phase=reply.phase)


def ask_one(
    place: Workplace, *, worker: str, lease_s: float, timeout: float | None, patience: Patience
) -> Flow[GivenTrial]:
    """The next trial, when there is one. Raises ExperimentOver, TimedOut."""
    began = patience.now()
    while True:
        left = math.inf if timeout is None else timeout - (patience.now() - began)
        wait = max(min(left, ASK_WAIT_S), 0.0)
        body = Ask(id=uuid.uuid4().hex, worker=worker, lease=lease_s, wait=wait)
        given = yield from ask(place, body, patience)
        if given.trials:
            return given.trials[0]
        if given.over:
            raise ExperimentOver(f"{place.namespace}/{place.name}", given.phase)
        if patience.now() - began >= (math.inf if timeout is None else timeout):
            raise TimedOut(f"{place.name} gave out no trial within {timeout:g} s")


def tell(
    place: Workplace, results: Sequence[Result], wanted: Ask | None, patience: Patience
) -> Flow[tuple[list[Answered], Given]]:
    """The answers, one for each result, and what was asked for with them."""
    given = Given()

    def build(part: Sequence[Result]) -> Body:
        return Tell(results=tuple(part), ask=wanted)

    def hear(reply: WorkReply) -> None:
        nonlocal given
        # A repeat carries the same ask, so it names the same trials.
        fresh = reply.trials if wanted is not None else ()
        known = {it.trial for it in given.trials}
        new = tuple(it for it in fresh if it.trial not in known)
        given = Given(trials=(*given.trials, *new), over=reply.over, phase=reply.phase)

    answers = yield from _settled(place, WorkVerb.TELL, results, build, patience, hear)
    return (yield from _with_reasons(place, answers, patience)), given


def report(place: Workplace, reports: Sequence[Report], patience: Patience) -> Flow[list[Answered]]:
    def build(part: Sequence[Report]) -> Body:
        return Reports(reports=tuple(part))

    return (yield from _settled(place, WorkVerb.REPORT, reports, build, patience))


def report_one(place: Workplace, held: Held, said: Report, patience: Patience) -> Flow[None]:
    """Held hears what became of it."""
    answers = yield from report(place, [said], patience)
    [answered] = yield from _with_reasons(place, answers, patience)
    held.heard(answered)


def release(place: Workplace, trials: Sequence[Held], patience: Patience) -> Flow[list[Answered]]:
    def build(part: Sequence[HeldTrial]) -> Body:
        return Release(trials=tuple(part))

    keys = [held.key for held in trials]
    return (yield from _settled(place, WorkVerb.RELEASE, keys, build, patience))


def beat(place: Workplace, trials: Sequence[Held], patience: Patience) -> Flow[None]:
    """Renew their leases; each hears what is said of it."""
    for start in range(0, len(trials), MAX_WORK_ITEMS):
        part = trials[start : start + MAX_WORK_ITEMS]
        body = Heartbeat(trials=tuple(held.key for held in part))
        reply = yield from say(place, WorkVerb.HEARTBEAT, body, patience)
        for held, answered in zip(part, reply.answers, strict=False):
            if not held.is_over:
                held.heard(answered)


def _with_reasons(
    place: Workplace, answers: Sequence[Answered], patience: Patience
) -> Flow[list[Answered]]:
    """A word that comes while its run is being ended is refused by whoever stores metrics, who
    does not know why the run ends: whoever leases it does."""
    found = list(answers)
    bare = [i for i, it in enumerate(found) if it.refused is not None and not it.stop]
    if not bare:
        return found
    keys = tuple(HeldTrial(trial=found[i].trial, attempt=found[i].attempt) for i in bare)
    reply = yield from say(place, WorkVerb.HEARTBEAT, Heartbeat(trials=keys), patience)
    for i, answered in zip(bare, reply.answers, strict=False):
        if answered.refused is not None and answered.stop:
            found[i] = answered
    return found


def _settled(
    place: Workplace,
    verb: WorkVerb,
    items: Sequence[Item],
    build: Callable[[Sequence[Item]], Body],
    patience: Patience,
    hear: Callable[[WorkReply], None] = lambda _reply: None,
) -> Flow[list[Answered]]:
    """Items of which nobody knows what became are said again. Raises Unavailable when that goes
    on for too long."""
    answers: dict[int, Answered] = {}
    began, pause = patience.now(), FIRST_PAUSE_S
    left = list(range(len(items)))
    while left:
        part = left[:MAX_WORK_ITEMS]
        reply = yield from say(place, verb, build([items[i] for i in part]), patience)
        if len(reply.answers) != len(part):
            raise ServerFailed(f"{len(reply.answers)} answers to {len(part)} items")
        hear(reply)
        for i, answered in zip(part, reply.answers, strict=True):
            if answered.accepted or answered.refused is not None:
                answers[i] = answered
        unknown = [i for i in left if i not in answers]
        if unknown and unknown[0] in part:
            if patience.now() - began + pause > patience.seconds:
                raise Unavailable(f"{verb.value}: what became of it is not known")
            yield Pause(seconds=pause)
            pause = min(pause * 2, LAST_PAUSE_S)
        left = unknown
    return [answers[i] for i in range(len(items))]
