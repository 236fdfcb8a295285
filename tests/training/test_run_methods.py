"""Runs of methods with a predictor or a target network."""

import csv
import operator
import types

import keras
import numpy as np
import pytest

from minc_tf.training import (
    from_settings,
    load_run,
    run,
    set_widths,
    use_method,
)

from .conftest import (
    assert_same_checkpoint,
    checkpoint_arrays,
    stop_at,
    tiny_config,
)

EPOCHS, STEPS = 2, 4


def method_config(**changes):
    """BYOL, narrowed, its predictor at a constant rate as SimSiam's.

    The views are made in the train step.
    """
    config = tiny_config(epochs=EPOCHS, augment={"where": "device"}, **changes)
    use_method(config, "byol")
    config.optimizer.predictor_rate = "constant"
    set_widths(config, (16, 8), (6,))
    return config


def rows(folder):
    """The table of a run."""
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A run from start to end: its folder and summary."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    summary = run(method_config(), folder)
    return types.SimpleNamespace(folder=folder, summary=summary)


@pytest.mark.slow  # Three runs, each traced.
def test_resumed_run_ends_like_an_uninterrupted_one(straight, tmp_path):
    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, step=6)
        with pytest.raises(RuntimeError, match="power cut"):
            run(method_config(), folder)
    assert [row["epoch"] for row in rows(folder)] == ["1"]
    model, config = load_run(folder)
    assert int(model.steps) == STEPS
    assert config.epochs == EPOCHS
    summary = run(method_config(), folder)
    assert_same_checkpoint(folder, straight.folder)
    assert summary["loss"] == straight.summary["loss"]
    assert summary["step"] == EPOCHS * STEPS


def test_checkpoint_holds_predictor_and_target(straight):
    model, _config = load_run(straight.folder)
    parts = ["encoder", "projector", "predictor"]
    parts += ["target_encoder", "target_projector"]
    arrays = checkpoint_arrays(straight.folder)
    for part in parts:
        weights = getattr(model, part).get_weights()
        saved = [v for k, v in arrays.items() if k.startswith(f"{part}/")]
        assert len(saved) == len(weights)
        for value in weights:
            assert any(np.array_equal(value, other) for other in saved)


def test_target_follows_slowly(straight):
    config = method_config()
    start = from_settings.build_model(config).encoder.weights
    model, _config = load_run(straight.folder)
    copies = model.target_encoder.weights
    for first, online, target in zip(
        start, model.encoder.weights, copies, strict=True
    ):
        if online.trainable:
            moved = np.abs(online.numpy() - first.numpy()).max()
            followed = np.abs(target.numpy() - first.numpy()).max()
            # At 0.99 and above, 8 steps leave it close to where it began.
            assert 0.0 < followed < 0.08 * max(moved, 1e-2)


def test_table_has_the_scheduled_rate(straight):
    rates = [float(row["learning_rate"]) for row in rows(straight.folder)]
    # Warm-up of one epoch to the peak, and at the end the cosine's zero.
    assert rates == pytest.approx([1e-3, 0.0], abs=1e-9)
    assert np.isfinite(straight.summary["loss"])


def test_saved_model_is_the_checkpoint_and_goes_on(straight):
    whole = keras.models.load_model(straight.folder / "model.keras")
    checkpoint, _config = load_run(straight.folder)
    for model in (whole, checkpoint):
        assert type(model.optimizer) is keras.optimizers.MultiOptimizer
    for part in ("weights", "optimizer.variables"):
        get = operator.attrgetter(part)
        for one, other in zip(get(whole), get(checkpoint), strict=True):
            np.testing.assert_array_equal(one, other, err_msg=one.path)

    # The schedule has ended; the rate of the predictor has not.
    views = np.random.default_rng(0).uniform(0, 255, (2, 16, 32, 32, 3))
    before = [v.numpy() for v in whole.trainable_variables]
    whole.fit(*views, batch_size=16, verbose=0)
    moved = {
        id(v)
        for v, old in zip(whole.trainable_variables, before, strict=True)
        if np.any(v.numpy() != old)
    }
    predictor = {id(v) for v in whole.predictor.trainable_variables}
    assert moved == predictor


@pytest.mark.slow  # A run of two optimizers, traced.
def test_float16_scales_the_loss_around_both_optimizers(tmp_path):
    config = method_config(precision="mixed_float16")
    summary = run(config, tmp_path / "run")
    assert np.isfinite(summary["loss"])
    assert summary["step"] == EPOCHS * STEPS
    model, _config = load_run(tmp_path / "run")
    assert type(model.optimizer) is keras.optimizers.LossScaleOptimizer
    inner = model.optimizer.inner_optimizer
    assert type(inner) is keras.optimizers.MultiOptimizer
    # Both parts took the same steps: all but those that overflowed, which
    # several of the first do, and the rate of the first is zero.
    counts = {int(part.iterations) for part in (inner, *inner.optimizers)}
    assert len(counts) == 1
    assert 1 < counts.pop() <= EPOCHS * STEPS
    start = from_settings.build_model(config)
    for part in ("encoder", "projector", "predictor"):
        first, last = (
            getattr(m, part).get_weights()[0] for m in (start, model)
        )
        assert np.all(np.isfinite(last))
        assert np.abs(last - first).max() > 1e-5
