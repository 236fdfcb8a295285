"""The embedded `shapes` set: pictures rendered from a seed with NumPy.

Ten figures, told apart by their outline alone: all else is drawn independently
of the class. What two crops of a picture share, and no augmentation hides, is
what a representation takes first. So most of the nuisance is what crops, flips
and colour jitter undo; colours are patches all over the picture, the patterns
faint and from three families, the grain equally strong everywhere.
"""

import functools

import numpy as np

from minc_tf._checks import check_choice, check_int
from minc_tf.data.arrays import ArraySource

CLASS_NAMES = (
    "disk",
    "ring",
    "square",
    "triangle",
    "star",
    "cross",
    "crescent",
    "heart",
    "angle",
    "bars",
)
SPLITS = {"train": 10_000, "test": 2_000}
IMAGE_SIZE = 32

# Pictures are drawn in blocks of this many, each from a generator of its own:
# a picture depends on (seed, split, index) and not on how many are asked for.
# A multiple of the number of classes, so that a block holds each equally often.
_BLOCK = 250


def render_shapes(
    num_examples: int, split: str = "train", seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Render the first pictures of a split of the `shapes` set.

    Args:
        num_examples: int, how many pictures.
        split: `"train"` or `"test"`: two disjoint streams of pictures.
        seed: int >= 0. Another seed is another set.

    Returns:
        A tuple `(images, labels)`: uint8 `(num_examples, 32, 32, 3)` and
        int64 `(num_examples,)`, an index into `CLASS_NAMES`. Picture `i` is
        the same for every `num_examples > i`.

    Raises:
        ValueError: If an argument is out of range.

    Example:
    ```python
    images, labels = minc_tf.data.render_shapes(100, "test", seed=0)
    print(images.shape, minc_tf.data.shapes.CLASS_NAMES[labels[0]])
    ```
    """
    check_int("num_examples", num_examples, 1)
    check_choice("split", split, SPLITS)
    check_int("seed", seed, 0)
    shape = (num_examples, IMAGE_SIZE, IMAGE_SIZE, 3)
    images = np.empty(shape, np.uint8)
    labels = np.empty(num_examples, np.int64)
    stream = list(SPLITS).index(split)
    for block, start in enumerate(range(0, num_examples, _BLOCK)):
        block_images, block_labels = _render_block(seed, stream, block)
        rows = slice(start, min(start + _BLOCK, num_examples))
        images[rows] = block_images[: rows.stop - start]
        labels[rows] = block_labels[: rows.stop - start]
    return images, labels


def load_shapes(
    split: str = "train", *, num_examples: int | None = None, seed: int = 0
) -> ArraySource:
    """Render a split of the `shapes` set into a source.

    Args:
        split: `"train"` or `"test"`.
        num_examples: int, or `None` for 10,000 (train) or 2,000 (test).
        seed: int >= 0.

    Returns:
        An `ArraySource` of 32x32 RGB pictures of ten classes.

    Raises:
        ValueError: If an argument is out of range.

    Example:
    ```python
    source = minc_tf.data.load_shapes("test", num_examples=500)
    ```
    """
    check_choice("split", split, SPLITS)
    if num_examples is None:
        num_examples = SPLITS[split]
    images, labels = render_shapes(num_examples, split, seed)
    return ArraySource(
        images, labels, name="shapes", split=split, class_names=CLASS_NAMES
    )


# Kept, 3 MB in all, because small sets are asked for again and again.
@functools.lru_cache(maxsize=4)
def _render_block(seed, stream, block):
    """`_BLOCK` pictures: uint8 (n, 32, 32, 3) and their labels (n,)."""
    n = _BLOCK
    rng = np.random.default_rng([seed, stream, block])
    labels = rng.permutation(np.arange(n) % len(CLASS_NAMES))

    def draw(low, high, *shape):
        values = rng.random((n, *shape), dtype=np.float32)
        return low + (high - low) * values

    pixel = np.arange(IMAGE_SIZE, dtype=np.float32) + 0.5 - IMAGE_SIZE / 2
    x, y = pixel[None, None, :], pixel[None, :, None]

    radius = draw(7.25, 11.0, 1, 1)
    room = 16.5 - radius
    dx = x - room * draw(-1, 1, 1, 1)
    dy = y - room * draw(-1, 1, 1, 1)
    angle = draw(-0.5, 0.5, 1, 1)
    cos, sin = np.cos(angle), np.sin(angle)
    stretch = np.exp(draw(-0.15, 0.15, 1, 1))
    mirror = np.where(rng.random((n, 1, 1)) < 0.5, -1, 1)
    u = mirror * (cos * dx + sin * dy) / (radius * stretch)
    v = (cos * dy - sin * dx) * stretch / radius
    distance = np.empty_like(u)
    for label, name in enumerate(CLASS_NAMES):
        chosen = labels == label
        distance[chosen] = _FIGURES[name](u[chosen], v[chosen])
    cover = np.clip(0.5 - distance * radius, 0, 1)[..., None]

    # The figure is lighter than the ground half of the time.
    contrast = draw(90, 110, 1, 1, 1)
    contrast *= np.where(rng.random((n, 1, 1, 1)) < 0.5, -1, 1)
    figure = 0.5 * contrast + 18 * _colour_patches(draw)
    ground = -0.5 * contrast + 18 * _colour_patches(draw)
    picture = draw(112, 143, 1, 1, 1) + ground + cover * (figure - ground)

    pattern = _patterns(rng, draw, x, y)
    picture += ((1 - 0.7 * cover[..., 0]) * pattern)[..., None]
    shape = (n, IMAGE_SIZE, IMAGE_SIZE, 3)
    grain = rng.standard_normal(shape, dtype=np.float32)
    picture += 48 * grain
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8), labels


def _colour_patches(draw, cells=6):
    """Smooth patches of random colour: (n, 32, 32, 3), within -1 to 1."""
    knots = draw(-1, 1, cells, cells, 3)
    place = np.linspace(0, cells - 1, IMAGE_SIZE, dtype=np.float32)
    knot = np.arange(cells, dtype=np.float32)
    weight = np.maximum(0, 1 - np.abs(place[:, None] - knot))
    return np.einsum("yi,xj,nijc->nyxc", weight, weight, knots, optimize=True)


def _patterns(rng, draw, x, y):
    """A plain, striped or chequered ground: (n, 32, 32)."""
    theta = draw(0, np.pi, 1, 1)
    wave = 2 * np.pi / draw(5, 9, 1, 1)
    along = np.cos(theta) * x + np.sin(theta) * y
    across = np.cos(theta) * y - np.sin(theta) * x
    stripes = np.sin(wave * along + draw(0, 2 * np.pi, 1, 1))
    checks = stripes * np.sin(wave * across + draw(0, 2 * np.pi, 1, 1))
    family = rng.integers(0, 3, (len(theta), 1, 1))
    plain = np.zeros_like(stripes)
    chosen = np.choose(family, [plain, stripes, 1.4 * checks])
    return draw(4, 8, 1, 1) * chosen


# Signed distances (or bounds of them: only the edge matters), negative inside,
# of figures in the unit disk; x to the right, y downwards.


def _box(x, y, half_x, half_y):
    return np.maximum(np.abs(x) - half_x, np.abs(y) - half_y)


def _disk(x, y):
    return np.hypot(x, y) - 0.9


def _ring(x, y):
    return np.abs(np.hypot(x, y) - 0.72) - 0.22


def _square(x, y):
    return _box(x, y, 0.78, 0.78)


def _triangle(x, y):
    slope = 0.866 * np.abs(x) - 0.5 * y
    return np.maximum(slope - 0.5, y - 0.5)


def _star(x, y):
    """Five points: the plane is folded onto half of one of them."""
    sector = 2 * np.pi / 5
    angle = np.abs((np.arctan2(x, -y) + sector / 2) % sector - sector / 2)
    r = np.hypot(x, y)
    px, py = r * np.cos(angle), r * np.sin(angle)
    tip, notch = 1.05, 0.42
    nx, ny = notch * np.cos(sector / 2), notch * np.sin(sector / 2)
    ex, ey = nx - tip, ny
    return ((px - tip) * ey - py * ex) / np.hypot(ex, ey)


def _cross(x, y):
    return np.minimum(_box(x, y, 0.95, 0.28), _box(x, y, 0.28, 0.95))


def _crescent(x, y):
    return np.maximum(np.hypot(x, y) - 0.95, 0.72 - np.hypot(x - 0.5, y + 0.2))


def _heart(x, y):
    """Two round lobes above the corner of a square standing on its tip."""
    side = np.abs(x)
    lobe = np.hypot(side - 0.42, y + 0.32) - 0.47
    tip = 0.707 * (side + y) - 0.545
    body = np.maximum(np.maximum(tip, -0.32 - y), side - 0.89)
    return np.minimum(lobe, body)


def _angle(x, y):
    return np.minimum(
        _box(x + 0.5, y, 0.26, 0.9), _box(x, y - 0.64, 0.76, 0.26)
    )


def _bars(x, y):
    return _box(np.abs(x) - 0.55, y, 0.24, 0.85)


_FIGURES = {
    "disk": _disk,
    "ring": _ring,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "crescent": _crescent,
    "heart": _heart,
    "angle": _angle,
    "bars": _bars,
}
