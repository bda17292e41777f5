"""The points that an algorithm drew: those that became trials, those ahead, those dropped."""

from collections.abc import Iterator
from typing import Any

from trialbus.contracts.collections import ANSWERS
from trialbus.contracts.documents import ANSWER
from trialbus.kernel.experiment import FINISHED_PHASES, GONE_PHASES, Experiment, ExperimentPhase
from trialbus.kernel.ids import answer_id, trial_name
from trialbus.kernel.suggestion import Answer
from trialbus.ports.store import Store
from trialbus_gateway.app.answers import moment
from trialbus_gateway.app.documents import Documents
from trialbus_gateway.app.failures import Unreadable
from trialbus_gateway.app.listing import PageRequest
from trialbus_gateway.app.readable import read
from trialbus_gateway.core.pages import Place, encode_place

Json = dict[str, Any]

_STARTS_NONE = FINISHED_PHASES | GONE_PHASES | {ExperimentPhase.ENDING}


class DrawnPoints:
    """Answers are numbered, so a page of them is one read by key."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._documents = Documents(store)

    async def page(self, namespace: str, name: str, page: PageRequest) -> Json:
        """The last answers first. Raises NotThere, Unreadable."""
        state = await self._documents.living(namespace, name)
        place = page.after
        if place.uid not in ("", state.id) or (place.uid and place.index is None):
            raise Unreadable("after: a token of another experiment; begin with the first page")
        newest = state.next_request - 1 if place.index is None else place.index - 1
        numbers = range(newest, max(newest - page.limit, 0), -1)
        # The one behind the first tells which of its points were dropped.
        keys = {answer_id(state.id, number): number for number in (newest + 1, *numbers)}
        documents = await self._store.get_many(ANSWERS.name, list(keys))
        found = {keys[key]: read(ANSWER, document) for key, document in documents.items()}
        following = None
        if numbers and numbers[-1] > 1:
            last = Place(created_at=state.created_at, uid=state.id, index=numbers[-1])
            following = encode_place(last)
        return {
            **_standing(state),
            "items": [
                _answer(state, answer, found.get(number + 1))
                for number in numbers
                if (answer := found.get(number)) is not None
            ],
            "next": following,
        }


def _standing(state: Experiment) -> Json:
    return {
        "namespace": state.namespace,
        "experiment": state.name,
        "algorithm": state.spec.algorithm.name,
        "lookAhead": None if state.look_ahead is None else state.look_ahead.value,
        "trials": state.next_index,
        "ahead": max(state.points_ahead, 0),
        "exhausted": state.exhausted,
        "requests": [
            {
                "number": request.number,
                "first": request.first,
                "count": request.count,
                "got": request.got,
                "watermark": request.watermark,
                "askedAt": moment(request.asked_at),
            }
            for request in state.requests
        ],
    }


def _answer(state: Experiment, answer: Answer, later: Answer | None) -> Json:
    return {
        "number": answer.number,
        "first": answer.first,
        "watermark": answer.watermark,
        "seed": answer.seed,
        "exhausted": answer.exhausted,
        "refused": answer.refused,
        "answeredAt": moment(answer.answered_at),
        "tookSeconds": answer.took_s,
        "settings": None if answer.settings is None else dict(answer.settings),
        "points": list(_points(state, answer, later)),
    }


def _points(state: Experiment, answer: Answer, later: Answer | None) -> Iterator[Json]:
    names = answer.names or tuple(it.name for it in state.spec.parameters)
    for index, values in enumerate(answer.points, start=answer.first):
        mark = answer.mark(index)
        standing = _point_state(state, index, later)
        yield {
            "index": index,
            "state": standing,
            "trial": _name(state, index) if standing == "trial" else None,
            "parameters": dict(zip(names, values, strict=False)),
            "labels": dict(mark.labels),
            "parent": None if mark.parent is None else _name(state, mark.parent),
        }


def _point_state(state: Experiment, index: int, later: Answer | None) -> str:
    """later: the next answer. Where it begins before the end of this one, an experiment that was
    restarted drew these points anew."""
    if later is not None and index >= later.first:
        return "dropped"
    if index < state.next_index:
        return "trial"
    return "dropped" if state.phase in _STARTS_NONE else "ahead"


def _name(state: Experiment, index: int) -> str:
    return trial_name(state.name, state.id, index)
