"""How parameters move along their gradients. A parameter without a gradient stays."""

from collections.abc import Sequence

import numpy as np

from networks.gradients import Array, Tensor


class Momentum:
    """Stochastic gradient descent with momentum (as PyTorch has it): the velocity is momentum
    times itself plus the gradient, and the step is rate times the velocity.

    weight_decay: times the parameter, added to its gradient. `rate` may be set between steps.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        *,
        rate: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
    ) -> None:
        self.rate = rate
        self._parameters = list(parameters)
        self._momentum, self._weight_decay = momentum, weight_decay
        self._velocities = [np.zeros_like(each.value) for each in parameters]

    def directions(self) -> list[Array]:
        """What `step` would multiply by the rate, of each parameter; nothing changes."""
        return [
            self._momentum * velocity
            + self._weight_decay * parameter.value
            + (0 if parameter.gradient is None else parameter.gradient)
            for parameter, velocity in zip(self._parameters, self._velocities, strict=True)
        ]

    def step(self) -> None:
        """Move, and forget the gradients."""
        for parameter, velocity in zip(self._parameters, self._velocities, strict=True):
            gradient, parameter.gradient = parameter.gradient, None
            if gradient is None:
                continue
            np.multiply(velocity, self._momentum, out=velocity)
            np.add(velocity, gradient + self._weight_decay * parameter.value, out=velocity)
            # A float of Python's keeps the array's type, one of NumPy's would not.
            parameter.value = parameter.value - float(self.rate) * velocity


class Adam:
    """Kingma and Ba 2015, algorithm 1. weight_decay: times the parameter, added to its gradient."""

    def __init__(
        self,
        parameters: Sequence[Tensor],
        *,
        rate: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
        epsilon: float = 1e-8,
    ) -> None:
        self.rate = rate
        self._parameters = list(parameters)
        self._betas, self._epsilon, self._weight_decay = betas, epsilon, weight_decay
        self._means = [np.zeros_like(each.value) for each in parameters]
        self._squares = [np.zeros_like(each.value) for each in parameters]
        self._steps = 0

    def step(self) -> None:
        """Move, and forget the gradients."""
        self._steps += 1
        beta1, beta2 = self._betas
        unbiased = (1 - beta2**self._steps) ** 0.5
        rate = float(self.rate) * unbiased / (1 - beta1**self._steps)
        for parameter, mean, square in zip(
            self._parameters, self._means, self._squares, strict=True
        ):
            gradient, parameter.gradient = parameter.gradient, None
            if gradient is None:
                continue
            gradient = gradient + self._weight_decay * parameter.value
            np.add(mean, (1 - beta1) * (gradient - mean), out=mean)
            np.add(square, (1 - beta2) * (gradient * gradient - square), out=square)
            scale = np.sqrt(square) + self._epsilon * unbiased
            parameter.value = parameter.value - rate * mean / scale


def clip_gradients(parameters: Sequence[Tensor], longest: float) -> float:
    """Shorten all gradients together to this length; the length they had."""
    known = [each for each in parameters if each.gradient is not None]
    length = float(np.sqrt(sum(_square(each.gradient) for each in known)))
    if length > longest:
        for each in known:
            assert each.gradient is not None
            each.gradient = each.gradient * (longest / length)
    return length


def _square(gradient: Array | None) -> float:
    return 0.0 if gradient is None else float(np.sum(gradient * gradient))
