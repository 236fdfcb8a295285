"""Choosing a learning rate, and heads that train side by side."""

import logging

import numpy as np
import pytest
import tensorflow as tf

from minc_tf.evaluation.protocols.heads import LinearHeads, trust_ratio
from minc_tf.evaluation.protocols.learning_rates import (
    check_learning_rates,
    choose_rate,
    progress_bar,
    scheduled,
)

from .slow_training import SlowHead

RATES = (0.05, 0.5, 5.0)


def problem(n=40, features=6, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, features)).astype("float32")
    y = (x @ rng.normal(size=(features, classes))).argmax(1)
    return x, y.astype("int64")


@pytest.mark.parametrize("optimizer", ["sgd", "lars"])
def test_steps_equal_slow_ones(optimizer):
    x, y = problem()
    heads = LinearHeads(RATES, 6, 3, optimizer=optimizer, seed=2)
    start = heads.weights.numpy()[0]
    slow = [SlowHead(start, rate, optimizer) for rate in RATES]
    for factor in (1.0, 0.7, 0.2, 0.1):
        for trained in (heads, *slow):
            trained.train(x, y, factor)
    for i, head in enumerate(slow):
        close = {"rtol": 1e-4, "atol": 1e-6}
        np.testing.assert_allclose(heads.weights[i], head.w, **close)
        np.testing.assert_allclose(heads.bias[i, 0], head.b, **close)
    expected = [head.accuracy(x, y) for head in slow]
    assert heads.accuracies(x, y) == expected


@pytest.mark.parametrize("optimizer", ["sgd", "lars"])
def test_side_by_side_is_alone(optimizer):
    x, y = problem()
    together = LinearHeads(RATES, 6, 3, optimizer=optimizer)
    alone = [LinearHeads([r], 6, 3, optimizer=optimizer) for r in RATES]
    for heads in (together, *alone):
        for step in range(10):
            heads.train(x, y, scheduled(256, step, 10))
    for i, heads in enumerate(alone):
        np.testing.assert_allclose(
            together.weights[i], heads.weights[0], rtol=1e-5, atol=1e-6
        )
        assert together.accuracies(x, y)[i] == heads.accuracies(x, y)[0]


def test_a_head_that_diverges_leaves_the_others_alone():
    x, y = problem()
    heads = LinearHeads([0.5, 1e38], 6, 3)
    alone = LinearHeads([0.5], 6, 3)
    for _ in range(5):
        heads.train(x, y, 1.0)
        alone.train(x, y, 1.0)
    np.testing.assert_allclose(heads.weights[0], alone.weights[0], rtol=1e-5)
    first, second = heads.accuracies(x, y)
    assert first > 0.8
    assert second is None


def test_trust_ratio_is_that_of_each_head():
    rng = np.random.default_rng(0)
    w, g = rng.normal(size=(2, 3, 4, 5)).astype("float32")
    w[1] = 0
    g[2] = 0
    found = trust_ratio(tf.constant(w), tf.constant(g)).numpy()
    expected = 0.001 * np.linalg.norm(w[0]) / np.linalg.norm(g[0])
    np.testing.assert_allclose(found[:, 0, 0], [expected, 1, 1], rtol=1e-6)


def test_learning_rates():
    assert check_learning_rates(0.1) == [0.1]
    assert check_learning_rates((1, 0.1)) == [0.1, 1.0]
    for bad in ((), 0, (0.1, -1), float("inf"), float("nan")):
        with pytest.raises(ValueError, match="learning_rates must be a posit"):
            check_learning_rates(bad)
    with pytest.raises(ValueError, match=r"must differ; received \(1, 1\)"):
        check_learning_rates((1, 1))


@pytest.mark.parametrize(
    ("accuracies", "chosen", "warning"),
    [
        ([0.1, 0.5, 0.4, 0.3], 1, None),
        ([0.5, 0.5, 0.5, 0.3], 1, None),
        ([None, 0.5, None, None], 1, None),
        ([0.6, 0.5, 0.4, None], 0, "smallest"),
        ([0.1, 0.2, None, 0.3], 3, "largest"),
    ],
    ids=["best", "middle of equals", "finite", "first", "last"],
)
def test_choice_of_a_rate(accuracies, chosen, warning, caplog):
    rates = [0.1, 0.2, 0.3, 0.4]
    with caplog.at_level(logging.WARNING, "minc_tf"):
        found = choose_rate(rates, accuracies)
    assert found == (rates[chosen], accuracies[chosen])
    if warning is None:
        assert not caplog.text
    else:
        assert f"{rates[chosen]} was chosen, the {warning} of" in caplog.text


def test_one_rate_is_no_choice(caplog):
    assert choose_rate([0.1], [0.5]) == (0.1, 0.5)
    assert not caplog.text
    with pytest.raises(FloatingPointError, match=r"learning_rates=\[0.1, 1\]"):
        choose_rate([0.1, 1], [None, None])


def test_schedule():
    assert scheduled(256, 0, 10) == 1
    assert scheduled(512, 5, 10) == pytest.approx(1)
    assert 0 < scheduled(256, 9, 10) < 0.05


def test_progress_bar(capsys):
    progress_bar(2, 0)(0, loss=1.0)
    assert not capsys.readouterr().out
    show = progress_bar(2, 1)
    show(0, loss=1.0)
    show(1, loss=1.0)
    assert "2/2" in capsys.readouterr().out
