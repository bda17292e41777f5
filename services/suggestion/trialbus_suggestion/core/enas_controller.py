"""ENAS' controller: a recurrent network that makes an architecture, decision by decision.

One LSTM layer. For each layer of the architecture it takes two steps: after the first it chooses
the operation, after the second the skips, by attention over its own states at the earlier layers.
Pham, Guan, Zoph, Le and Dean 2018 (Efficient Neural Architecture Search via Parameter Sharing),
section 2.3; in detail as in Katib. Gradients are worked out by hand, for whole batches.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trialbus_suggestion.core.enas_architectures import Batch

Array = NDArray[np.floating[Any]]

# The controller starts out undecided: as in Katib.
INITIAL_RANGE = 0.01
# Of one, which the settings allow, every chance is infinitely far.
MAX_SKIP_TARGET = math.nextafter(1.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """temperature, tanh_const: scores z become tanh_const * tanh(z / temperature); None: without
    the division, without the bound."""

    layers: int
    operations: int
    hidden: int
    temperature: float | None
    tanh_const: float | None

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        hidden = self.hidden
        return {
            "lstm": (2 * hidden, 4 * hidden),
            "start": (hidden,),
            "embedding": (self.operations, hidden),
            "softmax": (hidden, self.operations),
            "anchor": (hidden, hidden),
            "query": (hidden, hidden),
            "score": (hidden,),
        }

    @property
    def size(self) -> int:
        return sum(math.prod(shape) for shape in self.shapes.values())

    def views(self, flat: Array) -> dict[str, Array]:
        """All weights, or their gradients, are one array; this names its parts."""
        views, at = {}, 0
        for name, shape in self.shapes.items():
            size = math.prod(shape)
            views[name] = flat[at : at + size].reshape(shape)
            at += size
        return views

    def bounded(self, scores: Array) -> tuple[Array, Array | float]:
        """The scores as they count, and their slopes."""
        slope = 1.0 if self.temperature is None else 1.0 / self.temperature
        scaled = scores * slope
        if self.tanh_const is None:
            return scaled, slope
        bound = np.tanh(scaled)
        return self.tanh_const * bound, self.tanh_const * slope * (1 - bound * bound)


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What a gradient step lowers: for each architecture `weights` (count,) times its log
    probability, less `entropy` times the entropy of its decisions, plus `skip` times the mean over
    layers of the divergence KL(probabilities of skips, skip_target)."""

    weights: Array
    entropy: float = 0.0
    skip: float = 0.0
    skip_target: float = 0.4


@dataclass(slots=True)
class _Step:
    """What one step of the LSTM saw and did: inputs (count, 2 hidden), gates, states."""

    inputs: Array
    gates: tuple[Array, Array, Array, Array]
    before: Array
    bent: Array
    state: Array


@dataclass(slots=True)
class _Layer:
    """The decisions of one layer. probabilities: of operations; score, slope, chance, bent: of
    skips (count, earlier layers)."""

    first: _Step
    second: _Step
    log_p: Array
    slope: Array | float
    score: Array | None = None
    skip_slope: Array | float = 0.0
    chance: Array | None = None
    bent: Array | None = None


@dataclass(slots=True)
class Unrolled:
    """A batch that was made, or looked at again: log_p (count,) of all decisions together."""

    batch: Batch
    log_p: Array
    layers: list[_Layer] = field(repr=False)


def unroll(
    form: Form,
    flat: Array,
    batch: Batch | None = None,
    *,
    chances: Array | None = None,
    sharpness: float = 1.0,
) -> Unrolled:
    """Looks at the architectures of a batch, or makes new ones of `chances`, uniform numbers of
    shape (count, layers, layers): [:, i, i] for the operation of layer i, [:, i, :i] for its skips.

    sharpness: below 1 the decisions are more even than the controller's, at 0 all are equal.
    """
    return _Unrolling(form, flat, batch, chances, sharpness).run()


class _Unrolling:
    def __init__(
        self,
        form: Form,
        flat: Array,
        batch: Batch | None,
        chances: Array | None,
        sharpness: float,
    ) -> None:
        self._form, self._views, self._sharpness = form, form.views(flat), sharpness
        self._given, self._chances = batch, chances
        given = batch.operations if batch is not None else chances
        if given is None:
            raise ValueError("neither a batch nor chances to make one of")
        count = len(given)
        self._operations = np.zeros((count, form.layers), dtype=np.intp)
        self._skips = np.zeros((count, form.layers, form.layers), dtype=np.int8)
        self._log_p = np.zeros(count)
        self._state = np.zeros((count, form.hidden), flat.dtype)
        self._memory = np.zeros((count, form.hidden), flat.dtype)
        self._anchors: list[Array] = []
        self._keys: list[Array] = []

    def run(self) -> Unrolled:
        start = np.broadcast_to(self._views["start"], self._state.shape)
        inputs, layers = start, []
        for at in range(self._form.layers):
            layer, following = self._layer(at, inputs)
            layers.append(layer)
            inputs = start if following is None else following
        batch = Batch(operations=self._operations, skips=self._skips)
        return Unrolled(batch=batch, log_p=self._log_p, layers=layers)

    def _layer(self, at: int, inputs: Array) -> tuple[_Layer, Array | None]:
        first = self._step(inputs)
        scores, slope = self._form.bounded(first.state @ self._views["softmax"])
        log_p = _log_softmax(scores * self._sharpness)
        self._choose_operation(at, log_p)
        second = self._step(self._views["embedding"][self._operations[:, at]])
        layer = _Layer(first=first, second=second, log_p=log_p, slope=slope)
        following = self._attend(at, layer) if at else None
        self._anchors.append(second.state)
        self._keys.append(second.state @ self._views["anchor"])
        return layer, following

    def _attend(self, at: int, layer: _Layer) -> Array:
        """The skips of layer `at` >= 1; the next inputs, of those that were chosen."""
        query = layer.second.state @ self._views["query"]
        layer.bent = np.tanh(np.stack(self._keys, axis=1) + query[:, None])
        layer.score, layer.skip_slope = self._form.bounded(layer.bent @ self._views["score"])
        # The scores of no and yes are -score and score.
        twice = 2 * layer.score * self._sharpness
        layer.chance = 1 / (1 + np.exp(-twice))
        self._choose_skips(at, layer.chance)
        bits = self._skips[:, at, :at]
        self._log_p -= np.logaddexp(0, np.where(bits, -twice, twice)).sum(axis=1)
        chosen = np.einsum("bl,blh->bh", bits, np.stack(self._anchors, axis=1))
        mean: Array = chosen / (1 + bits.sum(axis=1, keepdims=True)).astype(chosen.dtype)
        return mean

    def _choose_operation(self, at: int, log_p: Array) -> None:
        if self._given is not None:
            chosen = self._given.operations[:, at]
        else:
            assert self._chances is not None
            ladder = np.cumsum(np.exp(log_p), axis=1)
            below = ladder < self._chances[:, at, at, None] * ladder[:, -1:]
            chosen = below.sum(axis=1)
        self._operations[:, at] = chosen
        self._log_p += log_p[np.arange(len(chosen)), chosen]

    def _choose_skips(self, at: int, chance: Array) -> None:
        if self._given is not None:
            self._skips[:, at, :at] = self._given.skips[:, at, :at]
        else:
            assert self._chances is not None
            self._skips[:, at, :at] = self._chances[:, at, :at] < chance

    def _step(self, inputs: Array) -> _Step:
        joined = np.concatenate([inputs, self._state], axis=1)
        raw = joined @ self._views["lstm"]
        hidden = self._form.hidden
        sigmoids = 1 / (1 + np.exp(-raw[:, : 3 * hidden]))
        into, keep, out = (sigmoids[:, i * hidden : (i + 1) * hidden] for i in range(3))
        new = np.tanh(raw[:, 3 * hidden :])
        before = self._memory
        self._memory = into * new + keep * before
        bent = np.tanh(self._memory)
        self._state = out * bent
        return _Step(joined, (into, keep, out, new), before, bent, self._state)


def gradient(form: Form, flat: Array, unrolled: Unrolled, goal: Goal) -> Array:
    """Of the goal, by the weights: an array like `flat`."""
    return _Backward(form, flat, unrolled, goal).run()


class _Backward:
    """From the last decision to the first."""

    def __init__(self, form: Form, flat: Array, unrolled: Unrolled, goal: Goal) -> None:
        self._form, self._views = form, form.views(flat)
        self._layers, self._batch = unrolled.layers, unrolled.batch
        self._goal = replace(goal, weights=goal.weights.astype(flat.dtype))
        self._flat = np.zeros_like(flat)
        self._found = form.views(self._flat)
        shape = (len(goal.weights), form.hidden)
        self._state = np.zeros(shape, flat.dtype)
        self._memory = np.zeros(shape, flat.dtype)
        self._anchors = [np.zeros(shape, flat.dtype) for _ in unrolled.layers]
        self._keys = [np.zeros(shape, flat.dtype) for _ in unrolled.layers]
        self._raws: list[Array] = []
        self._inputs: list[Array] = []

    def run(self) -> Array:
        following: Array | None = None
        for at in reversed(range(self._form.layers)):
            following = self._layer(at, following)
        # Those of all steps at once: one large product of matrices instead of many small ones.
        inputs, raws = np.concatenate(self._inputs), np.concatenate(self._raws)
        self._found["lstm"] += inputs.T @ raws
        return self._flat

    def _layer(self, at: int, following: Array | None) -> Array:
        """`following`: the gradient of the inputs of the next layer's first step."""
        layer = self._layers[at]
        if following is not None and at:
            self._spread(at, following)
        elif following is not None:
            self._found["start"] += following.sum(axis=0)
        if at:
            self._attended(at, layer)
        state = layer.second.state
        self._found["anchor"] += state.T @ self._keys[at]
        self._state += self._anchors[at] + self._keys[at] @ self._views["anchor"].T
        inputs = self._stepped(layer.second)
        np.add.at(self._found["embedding"], self._batch.operations[:, at], inputs)
        scores = self._of_operations(at, layer.log_p) * layer.slope
        self._found["softmax"] += layer.first.state.T @ scores
        self._state += scores @ self._views["softmax"].T
        inputs = self._stepped(layer.first)
        if at == 0:
            self._found["start"] += inputs.sum(axis=0)
        return inputs

    def _spread(self, at: int, following: Array) -> None:
        """To the anchors whose mean the next inputs were."""
        bits = self._batch.skips[:, at, :at].astype(following.dtype)
        shares = bits / (1 + bits.sum(axis=1, keepdims=True))
        for earlier in range(at):
            self._anchors[earlier] += shares[:, earlier, None] * following

    def _of_operations(self, at: int, log_p: Array) -> Array:
        p = np.exp(log_p)
        weights = self._goal.weights[:, None]
        found = -weights * p
        found[np.arange(len(p)), self._batch.operations[:, at]] += weights[:, 0]
        if self._goal.entropy:
            entropy = -(p * log_p).sum(axis=1, keepdims=True)
            found += self._goal.entropy / len(p) * p * (log_p + entropy)
        return found

    def _attended(self, at: int, layer: _Layer) -> None:
        assert layer.chance is not None
        assert layer.score is not None
        assert layer.bent is not None
        scores = self._of_skips(at, layer.score, layer.chance) * layer.skip_slope
        self._found["score"] += np.einsum("bl,blh->h", scores, layer.bent)
        bent = scores[..., None] * self._views["score"] * (1 - layer.bent * layer.bent)
        query = bent.sum(axis=1)
        self._found["query"] += layer.second.state.T @ query
        self._state += query @ self._views["query"].T
        for earlier in range(at):
            self._keys[earlier] += bent[:, earlier]

    def _of_skips(self, at: int, score: Array, chance: Array) -> Array:
        goal = self._goal
        bits = self._batch.skips[:, at, :at]
        found = 2 * goal.weights[:, None] * (bits - chance)
        spread = 2 * chance * (1 - chance) / len(chance)
        if goal.entropy:
            found += goal.entropy * spread * 2 * score
        if goal.skip:
            aim = min(goal.skip_target, MAX_SKIP_TARGET)
            target = math.log(aim / (1 - aim))
            layers = self._form.layers - 1
            found += goal.skip / layers * spread * (2 * score - target)
        return found.astype(score.dtype)

    def _stepped(self, step: _Step) -> Array:
        """Through one step of the LSTM; the gradient of its inputs."""
        into, keep, out, new = step.gates
        memory = self._memory + self._state * out * (1 - step.bent * step.bent)
        raw = np.concatenate(
            [
                memory * new * into * (1 - into),
                memory * step.before * keep * (1 - keep),
                self._state * step.bent * out * (1 - out),
                memory * into * (1 - new * new),
            ],
            axis=1,
        )
        joined = raw @ self._views["lstm"].T
        self._raws.append(raw)
        self._inputs.append(step.inputs)
        self._memory = memory * keep
        self._state = joined[:, self._form.hidden :]
        inputs: Array = joined[:, : self._form.hidden]
        return inputs


def _log_softmax(scores: Array) -> Array:
    shifted = scores - scores.max(axis=1, keepdims=True)
    result: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result
