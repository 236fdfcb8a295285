"""MINC against its formulas, written out in NumPy."""

import keras
import numpy as np
import pytest
from keras import ops

from minc_tf.objectives import MINC
from objectives.harness import (
    assert_close,
    embeddings,
    loss_and_gradients,
    run_objective_test,
    state,
)


class SlowMINC:
    """The method in float64, image by image."""

    def __init__(
        self,
        rate="adaptive",
        floor=0.3,
        tracking="lead",
        triangular=True,
        order="update_first",
        self_pairs=False,
    ):
        self.rate, self.floor, self.tracking = rate, floor, tracking
        self.triangular, self.order = triangular, order
        self.self_pairs = self_pairs
        self.second_moment = None
        self.last_rate = None

    def step(self, z1, z2, previous=None):
        """Returns the loss and both gradients; updates the moment."""
        own, batch = _own_moments(z1, z2), len(z1)
        moment = sum(own) / batch
        first = self.second_moment is None
        if first:
            self.second_moment, self.trend, self.error = moment, 0.0, None
        if self.tracking == "corrected":
            before = _own_moments(*previous)
            parts = self._correct(own, moment, before, first)
            used = self.second_moment
        else:
            expected = self.second_moment + self.trend
            gain = self._follow(own, moment, first)
            parts, used = [(gain, own)], self.second_moment
            if self.order == "read_first":
                parts, used = [], expected
        return self._loss(z1, z2, used, [] if self.self_pairs else parts)

    def _loss(self, z1, z2, used, parts):
        batch, value = len(z1), 0.0
        g1, g2 = np.zeros(z1.shape), np.zeros(z2.shape)
        for i, (a, b) in enumerate(zip(z1, z2, strict=True)):
            others = used.copy()
            for weight, own in parts if batch > 1 else []:
                rest = (sum(own) - own[i]) / (batch - 1)
                others += weight * (rest - sum(own) / batch)
            value += ((a @ others @ a + b @ others @ b) / 2 - 2 * a @ b) / batch
            if self.triangular:
                others = np.tril(others)
            g1[i] = 2 / batch * (-b + others @ a)
            g2[i] = 2 / batch * (-a + others @ b)
        return value, g1, g2

    def _follow(self, own, moment, first):
        lead = self.tracking == "lead"
        surprise = moment - self.second_moment - self.trend
        if first:
            rate = gain = 1.0
        elif self.rate == "adaptive":
            lowest = 1 - (1 - self.floor) ** 2 if lead else self.floor
            ratio = _covariance(own, own) / np.sum(surprise**2)
            gain = min(max(1 - ratio, lowest), 1.0)
            rate = 1 - np.sqrt(1 - gain) if lead else gain
        else:
            rate = self.rate
            gain = 1 - (1 - rate) ** 2 if lead else rate
        self.last_rate = rate
        self.second_moment = self.second_moment + self.trend + gain * surprise
        if lead:
            self.trend = self.trend + rate**2 * surprise
        return gain

    def _correct(self, own, moment, before, first):
        variance = _covariance(own, own)
        rate = 1.0 if first else self.rate
        if first:
            self.error = variance
        elif rate == "adaptive":
            known = self.error + _covariance(before, before)
            shared = _covariance(own, before)
            kept = min(max(shared / known, 0.0), 1 - self.floor)
            self.error = kept**2 * known - 2 * kept * shared + variance
            rate = 1 - kept
        change = sum(before) / len(before)
        self.second_moment = moment + (1 - rate) * (self.second_moment - change)
        self.last_rate = rate
        return [(1.0, own), (rate - 1.0, before)]


def _own_moments(z1, z2):
    z1, z2 = np.asarray(z1, "float64"), np.asarray(z2, "float64")
    return [
        (np.outer(a, a) + np.outer(b, b)) / 2
        for a, b in zip(z1, z2, strict=True)
    ]


def _covariance(own, other):
    """Of the means of two samples of matrices, without bias."""
    mean, mean_of_other = sum(own) / len(own), sum(other) / len(other)
    products = sum(
        np.sum((c - mean) * (d - mean_of_other))
        for c, d in zip(own, other, strict=True)
    )
    return products / (len(own) - 1) / len(own)


def moved(pair, seed):
    """What a slightly different network would make of the same views."""
    rng = np.random.default_rng(seed + 100)
    return tuple(
        (z + 0.2 * rng.normal(size=z.shape)).astype("float32") for z in pair
    )


def previous_of(tracking, pair, seed):
    """The arguments of a step beside the pair."""
    return {"previous": moved(pair, seed)} if tracking == "corrected" else {}


PAPER = {"tracking": "mean", "self_pairs": True}


@pytest.mark.parametrize(
    "kwargs",
    [
        {"dim": 6},
        {
            "dim": 6,
            **PAPER,
            "rate": 0.1,
            "floor": 0.05,
            "triangular": False,
            "order": "read_first",
            "mu": 2.0,
        },
    ],
)
def test_passes_the_checks_of_every_objective(kwargs):
    run_objective_test(MINC, kwargs)


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


@pytest.mark.parametrize("form", FORMS, ids=lambda form: str(form.values()))
@pytest.mark.parametrize("triangular", [True, False])
@pytest.mark.parametrize("batch, dim", [(2, 1), (7, 16), (16, 5)])
def test_value_and_gradients_equal_the_formulas(batch, dim, triangular, form):
    objective = MINC(dim, triangular=triangular, **form)
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
    objective = MINC(3, rate=0.1, triangular=False, **PAPER)
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
    objective = MINC(4, tracking=tracking, floor=0.0)
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
        auto, named = MINC(4), MINC(4, tracking=tracking)
        for seed, pair in enumerate(pairs):
            kept = previous_of(tracking, pair, seed)
            loss = auto(*pair, training=True, **kept)
            expected = named(*pair, training=True, **kept)
            np.testing.assert_array_equal(loss, expected)


def test_corrected_needs_previous_embeddings():
    objective, pair = MINC(3, tracking="corrected"), embeddings(4, 3)
    with pytest.raises(ValueError, match=r"needs previous.*tracking='lead'"):
        objective(*pair, training=True)
    with pytest.raises(ValueError, match=r"attach.*tracking='lead'"):
        objective.attach(keras.Input((3,)), keras.Input((3,)))
    with pytest.raises(ValueError, match=r"previous must.*\(4, 3\)"):
        objective(*pair, training=True, previous=embeddings(5, 3))
    with pytest.raises(ValueError, match="order must be 'update_first'"):
        MINC(3, tracking="corrected", order="read_first")
    objective(*pair, training=False)


def test_an_objective_saved_before_it_could_lead_stays_what_it_was():
    config = MINC(3, rate=0.2).get_config()
    del config["tracking"], config["self_pairs"]
    old = MINC.from_config(config)
    assert (old.tracking, old.self_pairs) == ("mean", True)
    now = MINC.from_config(MINC(3).get_config())
    assert (now.tracking, now.self_pairs) == ("auto", False)


@pytest.mark.parametrize("tracking", ["lead", "corrected"])
@pytest.mark.parametrize("triangular", [True, False])
def test_all_pairs_of_an_image_are_left_out(tracking, triangular):
    """Three pairs of each of four images, as multi-crop gives them."""
    objective = MINC(3, tracking=tracking, triangular=triangular, rate=0.4)
    z1, z2 = embeddings(12, 3, 0)
    p1, p2 = moved((z1, z2), 0)
    kept = {"previous": (p1, p2)} if tracking == "corrected" else {}
    for _ in range(2):
        _, g1, _ = loss_and_gradients(
            objective, z1, z2, pairs_per_image=3, **kept
        )
    moment = objective.second_moment.numpy()

    def left_out(a, b, image):
        own = [np.outer(z, z) for z in (*a, *b)]
        mine = np.arange(24) % 12 // 3 == image
        rest = [m for m, my in zip(own, mine, strict=True) if not my]
        return sum(rest) / len(rest) - sum(own) / len(own)

    for row in range(12):
        weight = 1.0 if tracking == "corrected" else 1 - 0.6**2
        others = moment + weight * left_out(z1, z2, row // 3)
        if tracking == "corrected":
            others = others - 0.6 * left_out(p1, p2, row // 3)
        others = np.tril(others) if triangular else others
        assert_close(g1[row], 2 / 12 * (others @ z1[row] - z2[row]), 1e-4)


def test_evaluation_before_training_uses_the_moment_of_its_batch():
    """There is nothing else to compare with; nothing is kept."""
    objective, pair = MINC(3), embeddings(5, 3)
    loss = objective(*pair, training=False)
    slow = SlowMINC(1.0, tracking="mean", self_pairs=True)
    np.testing.assert_allclose(loss, slow.step(*pair)[0], rtol=1e-5)
    assert not np.any(state(objective)["second_moment"])


@pytest.mark.parametrize("triangular", [True, False])
def test_sample_weights_count_like_repeated_rows(triangular):
    counts = np.array([1, 3, 0, 2])
    rows = np.repeat(np.arange(4), counts)
    kwargs = {"dim": 3, "rate": 0.4, "triangular": triangular, **PAPER}
    weighted, repeated = MINC(**kwargs), MINC(**kwargs)
    for seed in range(2):
        z1, z2 = embeddings(4, 3, seed)
        # Only the ratios of the weights matter.
        weights = 0.7 * counts.astype("float32")
        loss, *found = loss_and_gradients(
            weighted, z1, z2, sample_weight=weights
        )
        expected, *per_row = loss_and_gradients(repeated, z1[rows], z2[rows])
        np.testing.assert_allclose(loss, expected, rtol=1e-5)
        for gradient, each in zip(found, per_row, strict=True):
            summed = np.zeros_like(gradient)
            np.add.at(summed, rows, each)
            assert_close(gradient, summed)
        assert_close(
            weighted.second_moment.numpy(), repeated.second_moment.numpy()
        )


def test_adaptive_rate_counts_weighted_pairs_as_kish_does():
    weights = np.array([1.0, 3.0, 0.5, 2.0], "float32")
    objective = MINC(3, floor=0.0, tracking="mean")
    first = embeddings(4, 3, 0)
    objective(*first, training=True)
    previous = objective.second_moment.numpy()
    z1, z2 = embeddings(4, 3, 1, scale=2.0)
    objective(z1, z2, training=True, sample_weight=weights)

    share = weights / weights.sum()
    own = np.stack(_own_moments(z1, z2))
    moment = np.tensordot(share, own, axes=1)
    squares = share @ np.sum(own**2, axis=(1, 2))
    pairs = weights.sum() ** 2 / np.sum(weights**2)
    variance = (squares - np.sum(moment**2)) / (pairs - 1)
    gain = 1 - variance / np.sum((moment - previous) ** 2)
    assert 0.05 < gain < 0.95
    np.testing.assert_allclose(objective.metrics()["rate"], gain, rtol=1e-4)


@pytest.mark.parametrize("shape", [(1,), (), (8,), (4, 3)])
def test_sample_weight_of_another_shape(shape):
    z1, z2 = embeddings(4, 3)
    with pytest.raises(ValueError, match=r"sample_weight .*\(4,\)"):
        MINC(3)(z1, z2, sample_weight=np.ones(shape, "float32"))


def test_mu_clips_before_everything_else():
    mu = 1.5
    z1, z2 = embeddings(16, 5)

    def clip(z):
        norm = np.linalg.norm(z, axis=1, keepdims=True)
        return np.where(norm < np.sqrt(mu), z, np.sqrt(mu) * z / norm)

    def through_the_clip(z, g):
        norm = np.linalg.norm(z, axis=1, keepdims=True)
        along = np.sum(z * g, axis=1, keepdims=True) * z / norm**2
        return np.where(norm < np.sqrt(mu), g, np.sqrt(mu) / norm * (g - along))

    assert 0 < np.sum(np.linalg.norm(z1, axis=1) < np.sqrt(mu)) < 16
    objective, slow = MINC(5, mu=mu), SlowMINC()
    loss, g1, g2 = loss_and_gradients(objective, z1, z2)
    expected, h1, h2 = slow.step(clip(z1), clip(z2))
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert_close(g1, through_the_clip(z1, h1))
    assert_close(g2, through_the_clip(z2, h2))
    assert_close(objective.second_moment.numpy(), slow.second_moment)


@pytest.mark.parametrize("tracking", ["mean", "lead", "corrected"])
@pytest.mark.parametrize("rate", [0.5, "adaptive"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_batch_that_is_not_finite_shows_and_is_not_kept(bad, rate, tracking):
    objective = MINC(3, rate=rate, tracking=tracking)
    spared = MINC(3, rate=rate, tracking=tracking)
    z1, z2 = embeddings(4, 3, 9)
    z1[2, 1] = bad
    # First of all batches, between two batches, then again.
    for seed in range(3):
        kept = previous_of(tracking, (z1, z2), seed)
        loss = objective(z1, z2, training=True, **kept)
        assert not np.isfinite(loss)
        np.testing.assert_array_equal(objective.metrics()["rate"], 0.0)
        pair = embeddings(4, 3, seed)
        kept = previous_of(tracking, pair, seed)
        loss = objective(*pair, training=True, **kept)
        np.testing.assert_array_equal(
            loss, spared(*pair, training=True, **kept)
        )
        np.testing.assert_array_equal(
            objective.second_moment.numpy(), spared.second_moment.numpy()
        )


@pytest.mark.parametrize("mu", [None, 10.0])
@pytest.mark.parametrize("scale", [1e-12, 1e4, 1e12])
def test_extreme_sizes_leave_the_second_moment_finite(scale, mu):
    """At 1e12 the adaptive rate overflows although the moment does not."""
    objective = MINC(8, mu=mu)
    for seed in range(3):
        pair = embeddings(16, 8, seed, scale=scale)
        loss, g1, g2 = loss_and_gradients(objective, *pair)
        assert np.all(np.isfinite(objective.second_moment.numpy()))
        if scale <= 1e4 or mu is not None:
            assert np.isfinite(loss)
            assert np.all(np.isfinite(g1)) and np.all(np.isfinite(g2))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_second_moment_is_float32_inside_a_mixed_precision_model(policy):
    keras.config.set_dtype_policy(policy)
    try:
        inputs = [keras.Input((4,)), keras.Input((4,))]
        tower = keras.layers.Dense(3, use_bias=False)
        objective = MINC(3, rate=1.0)
        model = keras.Model(inputs, objective.attach(*map(tower, inputs)))
    finally:
        keras.config.set_dtype_policy("float32")
    z1, z2 = model(embeddings(64, 4), training=True)
    assert z1.dtype == policy.removeprefix("mixed_")
    assert objective.second_moment.dtype == "float32"
    z1, z2 = (np.array(ops.cast(z, "float64")) for z in (z1, z2))
    # Rounding to 8 or 11 bits anywhere after the tower would be seen here.
    assert_close(
        objective.second_moment.numpy(), (z1.T @ z1 + z2.T @ z2) / 128, 1e-6
    )


def covariance(eigenvalues, seed=0):
    rng = np.random.default_rng(seed)
    dim = len(eigenvalues)
    axes = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    return (axes * eigenvalues @ axes.T).astype("float32")


def test_rotation_orders_the_coordinates_as_eigh_does():
    eigenvalues = np.array([0.3, 1.0, 0.05, 0.6, 0.8])
    moment = covariance(eigenvalues)
    objective = MINC(5, triangular=False)
    objective.build((None, 5))
    objective.second_moment.assign(moment)
    rotation = np.array(objective.rotation())

    np.testing.assert_allclose(rotation.T @ rotation, np.eye(5), atol=1e-6)
    descending = np.sort(eigenvalues)[::-1]
    np.testing.assert_allclose(
        rotation.T @ moment @ rotation, np.diag(descending), atol=1e-6
    )
    np.testing.assert_allclose(objective.eigenvalues(), descending, atol=1e-6)
    reference = np.linalg.eigh(moment.astype("float64"))[1][:, ::-1]
    peak = np.argmax(np.abs(reference), axis=0)
    reference = reference * np.sign(reference[peak, np.arange(5)])
    np.testing.assert_allclose(rotation, reference, atol=1e-5)


def test_eigenvalues_are_the_diagonal_in_the_triangular_form():
    moment = covariance(np.array([0.9, 0.5, 0.1]))
    objective = MINC(3)
    objective.build((None, 3))
    objective.second_moment.assign(moment)
    np.testing.assert_array_equal(objective.eigenvalues(), np.diag(moment))


def test_metrics():
    objective = MINC(4, tracking="mean", rate=0.3)
    slow = SlowMINC(0.3, tracking="mean")
    for seed in range(2):
        loss = objective(*embeddings(8, 4, seed), training=True)
        slow.step(*embeddings(8, 4, seed))
    spectrum = np.linalg.eigvalsh(slow.second_moment)
    expected = {
        "chi2_information": -float(loss) - 1.0,
        "effective_rank": spectrum.sum() ** 2 / np.sum(spectrum**2),
        "rate": 0.3,
        "second_moment_trace": spectrum.sum(),
    }
    metrics = objective.metrics()
    assert set(metrics) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-5)
    other = objective.metrics(ops.convert_to_tensor(-3.0))
    np.testing.assert_allclose(other["chi2_information"], 2.0)
    assert objective.metrics == [], "Keras reads a layer's metrics as a list"


@pytest.mark.parametrize("call", ["metrics", "eigenvalues", "rotation"])
def test_nothing_to_report_before_the_first_batch(call):
    with pytest.raises(ValueError, match="call the objective on a pair"):
        getattr(MINC(3), call)()


@pytest.mark.parametrize(
    "argument, value",
    [
        ("dim", 0),
        ("dim", 2.5),
        ("dim", True),
        ("dim", None),
        ("rate", 0.0),
        ("rate", 1.5),
        ("rate", "fast"),
        ("rate", None),
        ("rate", True),
        ("rate", float("nan")),
        ("floor", -0.1),
        ("floor", 1.1),
        ("floor", None),
        ("triangular", 1),
        ("self_pairs", None),
        ("tracking", "median"),
        ("order", "last"),
        ("mu", 0.0),
        ("mu", -2.0),
        ("mu", "10"),
        ("mu", float("inf")),
    ],
)
def test_arguments_out_of_range(argument, value):
    kwargs = {"dim": 4, argument: value}
    with pytest.raises(ValueError, match=f"{argument} must .*{value!r}"):
        MINC(**kwargs)


def test_embeddings_of_another_dimension():
    z1, z2 = embeddings(4, 5)
    with pytest.raises(ValueError, match=r"dim=3, .* 5 dimensions.*dim=5"):
        MINC(3)(z1, z2)
    objective = MINC(3)
    objective.build((None, 3))
    with pytest.raises(ValueError, match=r"dim=3, .* 5 dimensions.*dim=5"):
        objective(z1, z2)
    with pytest.raises(ValueError, match=r"dim=3, .* 5 dimensions.*dim=5"):
        MINC(3).attach(keras.Input((5,)), keras.Input((5,)))
