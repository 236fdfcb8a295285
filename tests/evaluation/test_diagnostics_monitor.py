"""The diagnostics monitor in `fit`, against the functions and NumPy."""

import csv

import keras
import numpy as np
import pytest
import tensorflow as tf
from models import tiny

from minc_tf import diagnostics
from minc_tf.evaluation import DiagnosticsMonitor
from minc_tf.models import TwoViewModel, mlp
from minc_tf.models.statistics import present_statistics

PAIRS = 32
GEOMETRY = {
    "effective_rank_held_out",
    "rank_me",
    "alignment",
    "uniformity",
    "embedding_std_min",
    "embedding_std_mean",
}
INFORMATION = {
    "chi2_information_held_out",
    "chi2_information_held_out_low",
    "chi2_information_held_out_high",
    # A quarter of five dimensions.
    "captured_share_2",
}


def make_pairs(seed=1):
    """Held-out pairs of views, in batches of 8."""
    views = tiny.views(PAIRS // tiny.BATCH, seed)
    return tf.data.Dataset.from_tensor_slices(views).batch(tiny.BATCH)


def embed(model, seed=1):
    return [
        model.predict(view, verbose=0)
        for view in tiny.views(PAIRS // tiny.BATCH, seed)
    ]


def clipped(z, mu):
    norm = np.linalg.norm(z, axis=1, keepdims=True)
    return np.where(norm < mu**0.5, z, mu**0.5 * z / norm)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A MINC run of five epochs, measured at every second."""
    log = tmp_path_factory.mktemp("log") / "log.csv"
    model = tiny.build("minc_read_first", keras.optimizers.SGD(1e-3))
    model.fit(*tiny.views(2), batch_size=tiny.BATCH, verbose=0)
    monitor = DiagnosticsMonitor(make_pairs(), every=2)
    history = model.fit(
        *tiny.views(2),
        batch_size=tiny.BATCH,
        epochs=5,
        verbose=0,
        callbacks=[monitor, keras.callbacks.CSVLogger(log)],
    )
    with open(log) as file:
        rows = list(csv.DictReader(file))
    return model, monitor, history.history, rows


def test_the_epochs_and_names(run):
    _, monitor, history, rows = run
    names = GEOMETRY | INFORMATION | {"chi2_information_held_out_minc"}
    # The first, every second, the last.
    assert monitor.history["epoch"] == [0, 1, 3, 4]
    assert set(monitor.history) == names | {"epoch", "spectrum"}
    for name in names:
        values = history[name]
        assert values == monitor.history[name]
        assert len(values) == 4
        assert all(type(value) is float for value in values)
        measured = [row[name] for row in rows if row["epoch"] != "2"]
        np.testing.assert_allclose(np.array(measured, float), values)
        assert rows[2][name] == "NA"
    # What training logs under other names is left as it was.
    assert len(history["chi2_information"]) == len(history["loss"]) == 5
    assert "spectrum" not in history


def test_numbers_are_those_of_the_functions(run):
    model, monitor, history, _ = run
    one, other = embed(model)
    both = np.concatenate([one, other]).astype("float64")
    last = {name: values[-1] for name, values in history.items()}

    units = both / np.linalg.norm(both, axis=1, keepdims=True)
    spread = np.sqrt(tiny.DIM) * units.std(axis=0)
    assert last["embedding_std_min"] == pytest.approx(spread.min(), rel=1e-4)
    assert last["embedding_std_mean"] == pytest.approx(spread.mean(), rel=1e-4)
    covariance = np.cov(units.T, bias=True)
    rank = np.trace(covariance) ** 2 / np.sum(covariance**2)
    assert last["effective_rank_held_out"] == pytest.approx(rank, rel=1e-4)
    singular = np.linalg.svd(both, compute_uv=False)
    share = singular / singular.sum()
    expected = np.exp(-np.sum(share * np.log(share)))
    assert last["rank_me"] == pytest.approx(expected, rel=1e-4)
    distances = np.sum((units[:PAIRS] - units[PAIRS:]) ** 2, axis=1)
    assert last["alignment"] == pytest.approx(distances.mean(), rel=1e-3)
    uniform = float(diagnostics.uniformity(one))
    assert last["uniformity"] == pytest.approx(uniform, rel=1e-4)

    # The second moment, whose trace is the mean squared norm.
    spectrum = monitor.history["spectrum"][-1]
    values = np.linalg.eigvalsh(both.T @ both / len(both))[::-1]
    np.testing.assert_allclose(spectrum, values, rtol=1e-3, atol=1e-6)


def test_information_is_of_clipped_embeddings(run):
    model, _, history, _ = run
    one, other = (clipped(z, 4.0) for z in embed(model))
    assert np.linalg.norm(one, axis=1).max() > 1.99, "mu is in use"
    found = diagnostics.chi2_information(one, other)
    name = "chi2_information_held_out"
    for key, end in (("value", ""), ("low", "_low"), ("high", "_high")):
        assert history[name + end][-1] == pytest.approx(found[key], rel=1e-4)
    held = model.objective.second_moment.numpy()
    found = diagnostics.chi2_information(one, other, second_moment=held)
    assert history[f"{name}_minc"][-1] == pytest.approx(
        found["value"], rel=1e-4
    )
    both = np.concatenate([one, other])
    squares = np.linalg.eigvalsh(both.T @ both / len(both))[-2::-1] ** 2
    share = squares[:2].sum() / squares.sum()
    assert history["captured_share_2"][-1] == pytest.approx(share, rel=1e-4)


def measure(model, **settings):
    monitor = DiagnosticsMonitor(make_pairs(), **settings)
    monitor.set_model(model)
    return monitor.measure()


def test_information_only_where_it_is_trained():
    measured = measure(tiny.build("cosine"))
    assert set(measured) == GEOMETRY | {"spectrum"}
    # Of predictions and targets, the embeddings are not what is trained.
    predicting = tiny.build("spectral", predictor=True)
    assert set(measure(predicting)) == GEOMETRY | {"spectrum"}
    measured = measure(tiny.build("spectral", target_momentum=0.9))
    assert set(measured) == GEOMETRY | INFORMATION | {"spectrum"}


def test_batch_normalisation_leaves_no_constant_direction():
    """Then the whole spectrum counts, and its first value with it."""
    model = TwoViewModel(
        tiny.encoder(),
        mlp(tiny.FEATURES, (tiny.DIM,), final_norm=True),
        tiny.objective("spectral"),
    )
    model.compile(optimizer=keras.optimizers.SGD(1e-3), **tiny.EAGER)
    mu = model.objective.mu
    with present_statistics(model, make_pairs()):
        both = np.concatenate([clipped(z, mu) for z in embed(model)])
    squares = np.linalg.eigvalsh(both.T @ both / len(both))[::-1] ** 2
    expected = squares[:2].sum() / squares.sum()
    found = measure(model)["captured_share_2"]
    assert found == pytest.approx(expected, rel=1e-4)


def test_collapsed_embeddings_have_numbers_too():
    model = tiny.build("spectral")
    kernel = model.projector.get_weights()[0]
    model.projector.set_weights([np.zeros_like(kernel)])
    measured = measure(model)
    assert measured["captured_share_2"] == 0.0
    assert measured["embedding_std_min"] == 0.0
    assert measured["chi2_information_held_out"] == -1.0
    assert all(np.all(np.isfinite(value)) for value in measured.values())


@pytest.mark.parametrize("name", ["minc", "spectral", "cosine"])
def test_noise_and_curvature_where_asked_for(name):
    """The largest curvature, against a dense Hessian of the projector's."""
    # Its encoder stays as it is, so that the Hessian is small.
    model = tiny.build(name, target_momentum=0.5 if name == "cosine" else None)
    model.encoder.trainable = False
    tiny.fit(model)
    measured = measure(model, gradient_batches=3, hessian_iterations=40)
    found = diagnostics.gradient_variance(model, make_pairs().take(3))
    assert measured["gradient_variance"] == pytest.approx(found["variance"])
    assert measured["gradient_squared_norm"] == pytest.approx(
        found["squared_norm"]
    )

    view1, view2 = next(iter(make_pairs()))
    (kernel,) = model.projector.trainable_variables
    features = [model.encoder(view) for view in (view1, view2)]
    targets = [z @ kernel for z in features]
    if name == "cosine":
        targets = [
            model.target_projector(model.target_encoder(view))
            for view in (view1, view2)
        ]

    def loss(kernel):
        q1, q2 = (z @ kernel for z in features)
        if name == "cosine":
            cosines = [
                -tf.reduce_sum(tf.linalg.l2_normalize(a, 1) * b, axis=1)
                for a, b in (
                    (q1, tf.linalg.l2_normalize(targets[1], 1)),
                    (q2, tf.linalg.l2_normalize(targets[0], 1)),
                )
            ]
            return tf.reduce_mean(cosines)
        # MINC's own is that of the spectral loss of its embeddings.
        mu = 4.0 if name == "spectral" else 1.0
        if name == "spectral":
            q1, q2 = (clip(q, mu) for q in (q1, q2))
        products = q1 @ tf.transpose(q2)
        own = tf.linalg.diag_part(products)
        others = tf.reduce_sum(products**2) - tf.reduce_sum(own**2)
        batch = len(view1)
        value = others / (batch * (batch - 1)) - 2 * tf.reduce_mean(own)
        return value / mu

    with tf.GradientTape(persistent=True) as outer:
        with tf.GradientTape() as inner:
            start = tf.convert_to_tensor(kernel.value)
            outer.watch(start)
            inner.watch(start)
            value = loss(start)
        gradient = tf.reshape(inner.gradient(value, start), [-1])
    dense = outer.jacobian(gradient, start, experimental_use_pfor=False)
    eigenvalues = np.linalg.eigvalsh(
        np.reshape(dense, (gradient.shape[0],) * 2)
    )
    largest = eigenvalues[np.argmax(np.abs(eigenvalues))]
    assert measured["hessian_eigenvalue"] == pytest.approx(largest, rel=0.01)


def clip(z, mu):
    norm = tf.norm(z, axis=1, keepdims=True)
    return tf.where(norm < mu**0.5, z, mu**0.5 * z / norm)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"every": 0}, ValueError, "every must be an int >= 1; received 0"),
        ({"every": 1.5}, TypeError, "every must be an int .*received 1.5"),
        ({"gradient_batches": 2}, ValueError, "3 or more, or 0; received 2"),
        ({"hessian_iterations": -1}, ValueError, "must be an int >= 0"),
    ],
)
def test_bad_arguments(settings, error, message):
    with pytest.raises(error, match=message):
        DiagnosticsMonitor(make_pairs(), **settings)


def test_other_models_are_refused():
    model = tiny.build("spectral").encoder
    with pytest.raises(TypeError, match="TwoViewModel; received Functional"):
        DiagnosticsMonitor(make_pairs()).set_model(model)


def test_bad_pairs_stop_fit_before_it_starts():
    model = tiny.build("spectral")
    pairs = make_pairs()
    for wrong, message in (
        (pairs.repeat(), "repeats forever"),
        (pairs.take(0), "must hold pairs of views; received none"),
        (
            pairs.take(1).map(lambda *both: tuple(v[:2] for v in both)),
            "3 pairs .* received 2",
        ),
        (pairs.map(lambda one, other: one), r"yield \(view1, view2\)"),
        (pairs.map(lambda one, other: (one[:, :2], other)), "shape"),
        (pairs.map(lambda one, other: (one, other * np.nan)), "finite"),
    ):
        with pytest.raises(ValueError, match=message):
            tiny.fit(model, callbacks=[DiagnosticsMonitor(wrong)])
    assert int(model.steps) == 0
