"""The first-order optimizers of the bundled trainers.

Each one updates a flat vector of weights in place from the gradient at these weights, so a
network keeps all of its layers in one vector and an update is a handful of numpy calls.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


class Optimizer(Protocol):
    """Moves weights against their gradient; keeps its own state between the steps."""

    def step(self, weights: Vector, gradient: Vector, *, rate: float = 1.0) -> None:
        """Update `weights` in place. Both: (n_weights,); gradient is taken at `weights`.

        `rate` is the schedule's factor on the learning rate, in (0, 1].
        """
        ...

    def memory(self) -> dict[str, Vector]:
        """What it has gathered, by name, as its own arrays: write into them to go on from it."""
        ...


class Sgd:
    """Stochastic gradient descent with heavy-ball momentum.

    Polyak 1964, as written in Sutskever et al. 2013, "On the importance of initialization and
    momentum in deep learning", eq. 1 and 2: v <- momentum v - lr g, w <- w + v.
    """

    def __init__(self, *, size: int, lr: float, momentum: float) -> None:
        self._lr = lr
        self._momentum = momentum
        self._velocity = np.zeros(size)

    def step(self, weights: Vector, gradient: Vector, *, rate: float = 1.0) -> None:
        self._velocity *= self._momentum
        self._velocity -= (rate * self._lr) * gradient
        weights += self._velocity

    def memory(self) -> dict[str, Vector]:
        return {"velocity": self._velocity}


class Adam:
    """Adam: steps scaled by running estimates of the gradient's first two moments.

    Kingma & Ba 2015, "Adam: A Method for Stochastic Optimization", Algorithm 1, with its defaults.
    """

    def __init__(
        self,
        *,
        size: int,
        lr: float,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
    ) -> None:
        self._lr = lr
        self._beta1 = beta1
        self._beta2 = beta2
        self._epsilon = epsilon
        self._steps = np.zeros(1)
        self._mean = np.zeros(size)
        self._square = np.zeros(size)

    def step(self, weights: Vector, gradient: Vector, *, rate: float = 1.0) -> None:
        self._steps += 1
        self._mean += (1.0 - self._beta1) * (gradient - self._mean)
        self._square += (1.0 - self._beta2) * (gradient * gradient - self._square)
        mean_correction = 1.0 - self._beta1 ** self._steps[0]
        square_correction = 1.0 - self._beta2 ** self._steps[0]
        root = np.sqrt(self._square / square_correction)
        weights -= (rate * self._lr / mean_correction) * self._mean / (root + self._epsilon)

    def memory(self) -> dict[str, Vector]:
        return {"steps": self._steps, "mean": self._mean, "square": self._square}


class Ftrl:
    """FTRL-proximal with per-coordinate learning rates.

    McMahan et al. 2013, "Ad Click Prediction: a View from the Trenches", Algorithm 1, with
    alpha = lr. For each coordinate:
    sigma = (sqrt(n + g^2) - sqrt(n)) / alpha; z <- z + g - sigma w; n <- n + g^2;
    w <- 0 if |z| <= l1, else -(z - sign(z) l1) / ((beta + sqrt(n)) / alpha + l2).

    The paper fits a linear model and starts at zero (z = 0). All weights zero is a saddle point
    of a network, so here the strength beta / alpha, which Algorithm 1 puts around zero, is put
    around the first weights w0: z starts as -w0 beta / alpha. With l1 = l2 = 0 that z gives back
    exactly w0 (n is still 0), and every step is w <- w - alpha g / (beta + sqrt(n)); l1 and l2
    pull towards zero, as in the paper. The schedule's `rate` is not used: sqrt(n) grows with
    every gradient, so each coordinate has a falling rate of its own.
    """

    def __init__(
        self,
        *,
        weights: Vector,
        lr: float,
        beta: float = 1.0,
        l1: float = 0.0,
        l2: float = 0.0,
    ) -> None:
        self._alpha = lr
        self._beta = beta
        self._l1 = l1
        self._l2 = l2
        self._z = weights * (-beta / lr)
        self._n = np.zeros_like(weights)
        self._root_n = np.zeros_like(weights)

    def step(self, weights: Vector, gradient: Vector, *, rate: float = 1.0) -> None:  # noqa: ARG002
        self._n += gradient * gradient
        root_n = np.sqrt(self._n)
        sigma = (root_n - self._root_n) / self._alpha
        self._root_n[:] = root_n
        self._z += gradient - sigma * weights
        # max(|z| - l1, 0) with the sign of z is the paper's case distinction in one expression.
        shrunk = np.copysign(np.maximum(np.abs(self._z) - self._l1, 0.0), self._z)
        weights[:] = -shrunk / ((self._beta + root_n) / self._alpha + self._l2)

    def memory(self) -> dict[str, Vector]:
        return {"z": self._z, "n": self._n, "root_n": self._root_n}
