"""Generated data: noise that resembles itself some pixels away, and a class for each such way.

Where a window looks, and how wide, decides what can be told apart, so operations matter more than
with the digits; and there are as many images as one wants.
"""

import numpy as np

from networks.gradients import Array, Labels
from networks.images import SIDE, VALIDATION_SHARE, Images

# Rows down and columns right to the pixel that an image's pixels resemble, or are the opposite of.
OFFSETS = ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0), (2, 2), (2, -2), (1, 2), (2, 1))
SIGNS = (1, -1)
TEXTURES = len(OFFSETS) * len(SIGNS)
# Deviation of what is added to every pixel; the texture's own is 1.
NOISE = 0.1
COUNT = 1280
DATA_SEED = 0


def draw_textures(count: int, rng: np.random.Generator, side: int = SIDE) -> tuple[Array, Labels]:
    """Images (count, side, side, 1), float32, of mean 0 and deviation 1, nearly; labels (count,),
    0 to TEXTURES - 1, each as likely as the others."""
    reach = max(abs(step) for offset in OFFSETS for step in offset)
    labels = rng.integers(0, TEXTURES, count)
    noise = rng.normal(size=(count, side + 2 * reach, side + 2 * reach))
    inner = slice(reach, reach + side)
    images = np.empty((count, side, side))
    for label in range(TEXTURES):
        offset, sign = OFFSETS[label // len(SIGNS)], SIGNS[label % len(SIGNS)]
        some = noise[labels == label]
        images[labels == label] = (some + sign * np.roll(some, offset, (1, 2)))[:, inner, inner]
    images = images / np.sqrt(2) + rng.normal(0, NOISE, images.shape)
    return images[..., None].astype(np.float32), labels


def load_textures(side: int = SIDE, *, train: int | None = None) -> Images:
    """The same in every trial. train: how many to train with, by default COUNT."""
    rng = np.random.default_rng(DATA_SEED)
    images, labels = draw_textures(train or COUNT, rng, side)
    held, of_held = draw_textures(round(VALIDATION_SHARE * len(labels)), rng, side)
    return Images(
        train_images=images,
        train_labels=labels,
        validation_images=held,
        validation_labels=of_held,
    )
