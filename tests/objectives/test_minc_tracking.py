"""How MINC's second moment follows, and whom it leaves out: in NumPy."""

import keras
import numpy as np
import pytest
from gradients import BACKEND, differentiated
from keras import ops

from minc_tf.objectives import MINC, SpectralContrastive
from objectives.harness import (
    assert_close,
    embeddings,
    loss_and_gradients,
    state,
)
from objectives.slow_minc import (
    PAPER,
    SlowMINC,
    moved,
    own_moments,
    previous_of,
)

FORMS = [
    {"tracking": "mean", "rate": 0.25},
    {"tracking": "mean", "rate": "adaptive", "self_pairs": True},
    {"tracking": "mean", "rate": 0.25, "order": "read_first"},
    {"tracking": "lead", "rate": 0.25},
    {"tracking": "lead", "rate": "adaptive"},
    {"tracking": "lead", "rate": "adaptive", "order": "read_first"},
    {"tracking": "corrected", "rate": 0.25},
    {"tracking": "corrected", "rate": "adaptive", "floor": 0.05},
    {"tracking": "corrected", "rate": 0.25, "self_pairs": True},
]


@pytest.mark.parametrize(
    "form", FORMS, ids=lambda form: "-".join(map(str, form.values()))
)
@pytest.mark.parametrize("triangular", [True, False])
@pytest.mark.parametrize(
    "batch, dim", [(7, 16)] if BACKEND == "jax" else [(2, 1), (7, 16), (16, 5)]
)
def test_value_and_gradients_equal_the_formulas(batch, dim, triangular, form):
    objective = MINC(dim, triangular=triangular, mu=None, **form)
    slow = SlowMINC(triangular=triangular, **form)
    for seed in range(4):
        pair = embeddings(batch, dim, seed, scale=1.0 + seed % 2)
        kept = previous_of(form["tracking"], pair, seed)
        loss, g1, g2 = loss_and_gradients(objective, *pair, **kept)
        expected, h1, h2 = slow.step(*pair, **kept)
        np.testing.assert_allclose(loss, expected, rtol=1e-4, atol=1e-4)
        # Differences of nearly equal moments lose digits.
        assert_close(g1, h1, tolerance=3e-4)
        assert_close(g2, h2, tolerance=3e-4)
        assert_close(
            objective.second_moment.numpy(), slow.second_moment, tolerance=3e-4
        )
        found = objective.metrics()["rate"]
        np.testing.assert_allclose(found, slow.last_rate, rtol=1e-3, atol=1e-4)


def test_the_papers_form_is_a_running_mean():
    """Written out once more, without what the other forms share with it."""
    objective = MINC(3, rate=0.1, triangular=False, mu=None, **PAPER)
    expected = None
    for seed in range(5):
        z1, z2 = embeddings(6, 3, seed)
        moment = (z1.T @ z1 + z2.T @ z2) / 12
        if expected is None:
            expected = moment
        expected = 0.9 * expected + 0.1 * moment
        loss, g1, _ = loss_and_gradients(objective, z1, z2)
        assert_close(objective.second_moment.numpy(), expected)
        assert_close(g1, 2 / 6 * (z1 @ expected - z2))
        repelled = np.sum(z1 @ expected * z1) + np.sum(z2 @ expected * z2)
        value = repelled / 12 - 2 * np.sum(z1 * z2) / 6
        np.testing.assert_allclose(loss, value, rtol=1e-5)


@pytest.mark.parametrize("tracking", ["mean", "lead", "corrected"])
def test_adaptive_rate_between_floor_and_one(tracking):
    objective = MINC(4, tracking=tracking, floor=0.0, mu=None)
    # Two draws of one distribution, a jump, and a return.
    batches = [embeddings(16, 4, seed) for seed in range(3)]
    batches += [embeddings(16, 4, 3, scale=3.0), embeddings(16, 4, 4)]
    rates = []
    for seed, pair in enumerate(batches):
        kept = previous_of(tracking, pair, seed)
        objective(*pair, training=True, **kept)
        rates.append(float(objective.metrics()["rate"]))
    assert rates[0] == 1.0
    assert all(0.0 <= rate < 0.999 for rate in rates[1:])
    if tracking != "corrected":
        assert rates[3] > max(rates[1], rates[2]) and rates[3] > 0.5


def test_auto_corrects_where_it_can_and_leads_where_not():
    pairs = [embeddings(8, 4, seed) for seed in range(3)]
    for tracking in ("lead", "corrected"):
        auto, named = MINC(4, mu=None), MINC(4, tracking=tracking, mu=None)
        for seed, pair in enumerate(pairs):
            kept = previous_of(tracking, pair, seed)
            loss = auto(*pair, training=True, **kept)
            expected = named(*pair, training=True, **kept)
            np.testing.assert_array_equal(loss, expected)


def test_corrected_needs_previous_embeddings():
    objective, pair = MINC(3, tracking="corrected", mu=None), embeddings(4, 3)
    with pytest.raises(ValueError, match=r"needs previous.*tracking='lead'"):
        objective(*pair, training=True)
    with pytest.raises(ValueError, match=r"attach.*tracking='lead'"):
        objective.attach(keras.Input((3,)), keras.Input((3,)))
    with pytest.raises(ValueError, match=r"previous must.*\(4, 3\)"):
        objective(*pair, training=True, previous=embeddings(5, 3))
    with pytest.raises(ValueError, match="order must be 'update_first'"):
        MINC(3, tracking="corrected", order="read_first", mu=None)
    objective(*pair, training=False)


class LeftOut:
    """At a fixed rate: for each image the Lambda that was made without it."""

    def __init__(self, tracking, rate, triangular):
        self.tracking, self.rate = tracking, rate
        self.triangular = triangular
        self.level = None

    def step(self, pair, previous, weights, per_image):
        """The loss and both gradients of pairs, some in a row of an image."""
        z1, z2 = (z.astype("float64") for z in pair)
        weights = weights / weights.sum()
        image = np.arange(len(z1)) // per_image

        def moment(of, rows):
            products = sum(
                w * (np.outer(a, a) + np.outer(b, b)) / 2
                for w, a, b, row in zip(weights, *of, rows, strict=True)
                if row
            )
            return products / weights[rows].sum()

        def estimate(rows):
            return self._estimate(moment(pair, rows), moment(previous, rows))

        loss, g1, g2 = 0.0, np.zeros_like(z1), np.zeros_like(z2)
        for row, (w, a, b) in enumerate(zip(weights, z1, z2, strict=True)):
            held = estimate(image != image[row])
            loss += w * ((a @ held @ a + b @ held @ b) / 2 - 2 * a @ b)
            held = np.tril(held) if self.triangular else held
            g1[row] = 2 * w * (held @ a - b)
            g2[row] = 2 * w * (held @ b - a)
        everything = np.full(len(z1), True)
        updated = estimate(everything)
        if self.level is None:
            self.trend = 0.0
        elif self.tracking == "lead":
            surprise = moment(pair, everything) - self.level - self.trend
            self.trend = self.trend + self.rate**2 * surprise
        self.level = updated
        return loss, g1, g2

    def _estimate(self, moment, before):
        if self.level is None:
            return moment
        if self.tracking == "corrected":
            return moment + (1 - self.rate) * (self.level - before)
        if self.tracking == "mean":
            return self.level + self.rate * (moment - self.level)
        expected = self.level + self.trend
        gain = 1 - (1 - self.rate) ** 2
        return expected + gain * (moment - expected)


@pytest.mark.parametrize("tracking", ["mean", "lead", "corrected"])
@pytest.mark.parametrize("triangular", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("per_image", [1, 3])
def test_an_image_is_left_out(tracking, triangular, weighted, per_image):
    """With all its pairs, as multi-crop gives them, each with its weight."""
    objective = MINC(
        3, tracking=tracking, triangular=triangular, rate=0.4, mu=None
    )
    slow = LeftOut(tracking, 0.4, triangular)
    rng = np.random.default_rng(0)
    for seed in range(3):
        pair = embeddings(12, 3, seed)
        weights = np.ones(12)
        kept = previous_of(tracking, pair, seed)
        given = dict(kept)
        if weighted:
            weights = rng.uniform(0.5, 2.0, 12)
            weights[1] = 0.0
            given["sample_weight"] = weights.astype("float32")
        expected = slow.step(
            pair, kept.get("previous", pair), weights, per_image
        )
        found = loss_and_gradients(
            objective, *pair, pairs_per_image=per_image, **given
        )
        for one, other in zip(found, expected, strict=True):
            assert_close(one, other, 1e-4)
        assert_close(objective.second_moment.numpy(), slow.level, 1e-4)


@pytest.mark.parametrize("tracking", ["mean", "lead", "corrected"])
@pytest.mark.parametrize("rate", [0.4, "adaptive"])
@pytest.mark.parametrize("weights", [None, [0.0, 2.0, 0.0]])
def test_a_single_image_is_not_left_out(tracking, rate, weights):
    """Nothing would be left; nor does one image say how images vary."""
    objective = MINC(4, tracking=tracking, rate=rate, mu=None)
    single = MINC(4, tracking=tracking, rate=rate, self_pairs=True, mu=None)
    batch = 1 if weights is None else len(weights)
    given = {} if weights is None else {"sample_weight": np.array(weights)}
    for seed in range(3):
        pair = embeddings(batch, 4, seed)
        kept = previous_of(tracking, pair, seed)
        found = loss_and_gradients(objective, *pair, **given, **kept)
        row = slice(0, 1) if weights is None else slice(1, 2)
        kept = {name: [z[row] for z in pair] for name, pair in kept.items()}
        alone = [z[row] for z in pair]
        loss, g1, g2 = loss_and_gradients(single, *alone, **kept)
        np.testing.assert_allclose(found[0], loss, rtol=1e-5)
        assert_close(found[1][row], g1)
        assert_close(found[2][row], g2)
        assert np.all(np.isfinite(objective.second_moment.numpy()))
        assert_close(
            objective.second_moment.numpy(), single.second_moment.numpy()
        )


def test_adaptive_rate_counts_weighted_pairs_as_kish_does():
    weights = np.array([1.0, 3.0, 0.5, 2.0], "float32")
    objective = MINC(3, floor=0.0, tracking="mean", mu=None)
    first = embeddings(4, 3, 0)
    objective(*first, training=True)
    previous = objective.second_moment.numpy()
    z1, z2 = embeddings(4, 3, 1, scale=2.0)
    objective(z1, z2, training=True, sample_weight=weights)

    share = weights / weights.sum()
    own = np.stack(own_moments(z1, z2))
    moment = np.tensordot(share, own, axes=1)
    squares = share @ np.sum(own**2, axis=(1, 2))
    pairs = weights.sum() ** 2 / np.sum(weights**2)
    variance = (squares - np.sum(moment**2)) / (pairs - 1)
    gain = 1 - variance / np.sum((moment - previous) ** 2)
    assert 0.05 < gain < 0.95
    np.testing.assert_allclose(objective.metrics()["rate"], gain, rtol=1e-4)


def test_corrected_rate_counts_weighted_images():
    """Of two pairs each: variances and covariance of Kish's number of them."""
    objective = MINC(3, floor=0.0, tracking="corrected", mu=None)
    rng = np.random.default_rng(0)
    error = None
    for seed in range(3):
        pair = embeddings(12, 3, seed)
        before = moved(pair, seed)
        weights = rng.uniform(0.5, 2.0, 12)
        objective(
            *pair,
            training=True,
            sample_weight=weights.astype("float32"),
            pairs_per_image=2,
            previous=before,
        )
        by_image = weights.reshape(6, 2)
        share = by_image.sum(axis=1) / weights.sum()
        own, kept = (
            np.einsum(
                "ip,ipde->ide",
                by_image / by_image.sum(axis=1, keepdims=True),
                np.stack(own_moments(*each)).reshape(6, 2, 3, 3),
            )
            for each in (pair, before)
        )

        def covariance(one, other, share=share):
            products = share @ np.sum(one * other, axis=(1, 2))
            means = [np.tensordot(share, each, axes=1) for each in (one, other)]
            return (products - np.sum(means[0] * means[1])) / (
                1 / np.sum(share**2) - 1
            )

        variance, shared = covariance(own, own), covariance(own, kept)
        if error is None:
            rate, error = 1.0, variance
        else:
            known = error + covariance(kept, kept)
            rate = 1 - shared / known
            error = variance - shared**2 / known
            assert 0.05 < rate < 0.95
        np.testing.assert_allclose(objective.metrics()["rate"], rate, rtol=1e-3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_previous_embeddings_are_float32_inside(dtype):
    objective, exact = (
        MINC(3, tracking="corrected", mu=None) for _ in range(2)
    )
    for seed in range(2):
        pair = embeddings(8, 3, seed)
        half = [ops.cast(z, dtype) for z in moved(pair, seed)]
        loss = objective(*pair, training=True, previous=half)
        half = [ops.cast(z, "float32") for z in half]
        expected = exact(*pair, training=True, previous=half)
        np.testing.assert_array_equal(loss, expected)
    assert objective.second_moment.dtype == "float32"


def test_no_gradient_reaches_the_previous_embeddings():
    objective = MINC(3, tracking="corrected", mu=None)
    objective.build((None, 3))
    step = differentiated(
        lambda z1, z2: objective(z1, z2, training=True, previous=(z1, z2)),
        objective,
    )
    other = MINC(3, tracking="corrected", mu=None)
    for seed in range(2):
        pair = embeddings(8, 3, seed)
        _, g1, g2 = step(*pair)
        _, h1, h2 = loss_and_gradients(other, *pair, previous=pair)
        assert_close(np.array(g1), h1)
        assert_close(np.array(g2), h2)


@pytest.mark.parametrize("tracking", ["mean", "lead", "corrected"])
def test_a_batch_that_is_not_finite_changes_no_state(tracking):
    objective = MINC(3, tracking=tracking, mu=None)
    for seed in range(2):
        pair = embeddings(4, 3, seed)
        kept = previous_of(tracking, pair, seed)
        objective(*pair, training=True, **kept)
    before = state(objective)
    pair[0][2, 1] = np.inf
    objective(*pair, training=True, **kept)
    after = state(objective)
    for name, value in before.items():
        if name not in ("last_loss", "last_rate"):
            np.testing.assert_array_equal(after[name], value)
    assert after["last_rate"] == 0.0 and not np.isfinite(after["last_loss"])


def test_previous_embeddings_that_are_not_finite_count_as_unmoved():
    """They would end the run, while the network itself is well."""
    objective, expected = (
        MINC(3, tracking="corrected", mu=None) for _ in range(2)
    )
    for seed in range(3):
        pair = embeddings(4, 3, seed)
        known = moved(pair, seed)
        bad = [z.copy() for z in known]
        bad[1][2, 0], known[1][2] = np.nan, pair[1][2]
        found = loss_and_gradients(objective, *pair, previous=bad)
        for one, other in zip(
            found,
            loss_and_gradients(expected, *pair, previous=known),
            strict=True,
        ):
            assert_close(one, other)


def test_a_variance_that_overflows_is_not_kept():
    """The moment of these is finite, the mean of ||z||^4 is not."""
    objective, spared = (
        MINC(3, tracking="corrected", mu=None) for _ in range(2)
    )
    large = embeddings(8, 3, scale=1e12)
    objective(*large, training=True, previous=large)
    for seed in range(3):
        pair = embeddings(8, 3, seed)
        kept = {"previous": moved(pair, seed)}
        loss = objective(*pair, training=True, **kept)
        expected = spared(*pair, training=True, **kept)
        np.testing.assert_array_equal(loss, expected)


@pytest.mark.parametrize(
    "objective, given, message",
    [
        (
            MINC(3, tracking="mean", mu=None),
            "previous",
            "previous must be None",
        ),
        (
            MINC(3, order="read_first", mu=None),
            "previous",
            "previous must be None",
        ),
        (SpectralContrastive(), "previous", "previous must be None"),
        (SpectralContrastive(), 2, "pairs_per_image must be 1.*received 2"),
        (
            MINC(3, mu=None),
            3,
            "pairs_per_image must divide.* 4 pairs; received 3",
        ),
        (
            MINC(3, mu=None),
            0,
            "pairs_per_image must be an int >= 1; received 0",
        ),
    ],
    ids=str,
)
def test_what_an_objective_does_not_take(objective, given, message):
    pair = embeddings(4, 3)
    kwargs = {"pairs_per_image": given}
    if given == "previous":
        kwargs = {"previous": pair}
    with pytest.raises(ValueError, match=message):
        objective(*pair, training=True, **kwargs)
