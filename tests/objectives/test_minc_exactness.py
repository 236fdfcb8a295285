"""MINC against the known eigenfunctions of finite augmentation graphs.

The encoder is a table, one embedding a state, trained by plain gradient
descent: the setting in which the theory is exact.
"""

import functools

import keras
import numpy as np
import pytest
from gradients import BACKEND, differentiated, needs_tensorflow
from keras import ops

from minc_tf.diagnostics import AugmentationGraph
from minc_tf.objectives import MINC, SpectralContrastive
from objectives.harness import (
    assert_close,
    directions_of,
    finite_differences,
)

DIM = 6
#: Of batches of pairs, and of the one batch of all pairs.
STEPS, WHOLE_STEPS = 6000, 1500
#: Thousands of steps are run of what is compiled, whatever XLA_FLAGS say.
OPTIMIZED = {
    "xla_backend_optimization_level": 3,
    "xla_llvm_disable_expensive_passes": False,
}


class Trainer:
    """Gradient descent on a table, all steps in one compiled loop."""

    def __init__(self, objective, num_states):
        self.objective = objective
        self.num_states = num_states
        objective.build((None, DIM), (None, DIM))
        loops = {"tensorflow": loop_on_tensorflow, "jax": loop_on_jax}
        self._loop = loops[BACKEND](self._loss, objective)

    def train(self, *batches, learning_rate, seed):
        """Trains on the states of batches (steps, B) of pairs.

        Without them on every pair of states, of the weights given.
        """
        for variable in self.objective.variables:
            variable.assign(np.zeros(variable.shape))
        rng = np.random.default_rng(seed)
        table = 0.1 * rng.standard_normal((self.num_states, DIM))
        batches = [ops.convert_to_tensor(each) for each in batches]
        table, rate = (
            ops.convert_to_tensor(value, "float32")
            for value in (table, learning_rate)
        )
        return np.array(self._loop(table, rate, *batches))

    def _loss(self, table, previous, t, *batches):
        if len(batches) == 2:
            given = {}
            views_of = functools.partial(
                pairs_of, first=batches[0][t], second=batches[1][t]
            )
        else:
            given = {"sample_weight": batches[0]}
            views_of = every_pair
        if self.objective.needs_previous:
            given["previous"] = views_of(previous)
        return self.objective(*views_of(table), training=True, **given)


def steps_of(batches):
    """How many steps there are."""
    return batches[0].shape[0] if len(batches) == 2 else WHOLE_STEPS


def pairs_of(table, first, second):
    """Both views of pairs of states."""
    return [ops.take(table, states, axis=0) for states in (first, second)]


def every_pair(table):
    """Both views of all pairs of states, in the order of `graph.pairs`.

    Gathering rows would take XLA most of the time: their gradient is added one
    by one.
    """
    states = table.shape[0]
    return ops.repeat(table, states, axis=0), ops.tile(table, (states, 1))


def loop_on_tensorflow(loss_of, objective):
    """A function of table, rate and batches: the table after all steps."""
    import tensorflow as tf

    @tf.function(jit_compile=True, autograph=False)
    def loop(table, rate, *batches):
        def step(t, table, previous):
            with tf.GradientTape() as tape:
                tape.watch(table)
                loss = loss_of(table, previous, t, *batches)
            gradient = tf.convert_to_tensor(tape.gradient(loss, table))
            return t + 1, table - rate * gradient, table

        carried = (0, table, table)
        steps = steps_of(batches)
        return tf.while_loop(lambda t, *_: t < steps, step, carried)[1]

    return loop


def loop_on_jax(loss_of, objective):
    """The same; the state of the objective goes through the loop."""
    import jax

    @functools.partial(jax.jit, compiler_options=OPTIMIZED)
    def compiled(values, table, rate, *batches):
        def step(t, carried):
            values, table, previous = carried

            def loss_and_state(table):
                mapping = zip(objective.variables, values, strict=True)
                with keras.StatelessScope(mapping) as scope:
                    loss = loss_of(table, previous, t, *batches)
                return loss, [
                    *map(scope.get_current_value, objective.variables)
                ]

            gradient, values = jax.grad(loss_and_state, has_aux=True)(table)
            return values, table - rate * gradient, table

        carried = (values, table, table)
        return jax.lax.fori_loop(0, steps_of(batches), step, carried)[:2]

    def loop(table, rate, *batches):
        values = [variable.value for variable in objective.variables]
        values, table = compiled(values, table, rate, *batches)
        for variable, value in zip(objective.variables, values, strict=True):
            variable.assign(value)
        return table

    return loop


def train_full_batch(graph, objective, seed=0):
    *states, weight = graph.pairs()
    for found, expected in zip(
        every_pair(np.arange(graph.num_states)[:, None]), states, strict=True
    ):
        np.testing.assert_array_equal(found[:, 0], expected)
    trainer = Trainer(objective, graph.num_states)
    # Large for a table, not for a state: each view of a pair pulls its row
    # with twice the state's probability, 4 * 6 / 60 a step.
    return trainer.train(weight, learning_rate=6.0, seed=seed)


def population_gradient(graph, table):
    """The gradient of `graph.objective`, in float64.

    `4 P phi - 4 D phi (phi^T D phi)` with the joint P and its marginal D.
    """
    marginal = graph.marginal[:, None]
    second_moment = table.T @ (marginal * table)
    return 4.0 * (graph.joint @ table - marginal * table @ second_moment)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_full_batch_has_the_gradient_of_the_spectral_objective(seed):
    """No double sum over states: their second moment says it all."""
    graph = AugmentationGraph.random(seed=seed)
    first, second, weight = graph.pairs()
    objective = MINC(DIM, triangular=False, rate=1.0, self_pairs=True, mu=None)
    rng = np.random.default_rng(seed)
    for scale in (0.3, 1.0, 2.0):
        # Float32 values, so that both sides see the same table.
        table = scale * rng.standard_normal((graph.num_states, DIM))
        table = table.astype("float32")
        step = differentiated(
            lambda table: objective(
                ops.take(table, first, axis=0),
                ops.take(table, second, axis=0),
                training=True,
                sample_weight=weight,
            ),
            objective,
        )
        loss, found = map(ops.convert_to_numpy, step(table))
        table = table.astype("float64")
        expected = -population_gradient(graph, table)
        assert_close(found, expected)
        np.testing.assert_allclose(loss, -graph.objective(table), rtol=1e-5)

        # And the closed form itself, along random directions.
        directions = directions_of(graph.num_states, DIM)
        np.testing.assert_allclose(
            finite_differences(graph.objective, table, directions),
            -np.einsum("sd,nsd->n", expected, directions),
            rtol=1e-6,
            atol=1e-8,
        )


@pytest.mark.parametrize(
    "seed, tracking, rate",
    [
        (0, "lead", "adaptive"),
        (1, "corrected", "adaptive"),
        (2, "mean", 0.3),
    ],
)
def test_coordinates_reach_the_eigenfunctions_in_order(seed, tracking, rate):
    graph = AugmentationGraph.random(seed=seed)
    objective = MINC(DIM, rate=rate, tracking=tracking, mu=None)
    table = train_full_batch(graph, objective, seed)
    leading = graph.eigenvalues[:DIM]

    assert graph.overlaps(table).min() > 0.99
    diagonal = np.diag(objective.second_moment.numpy())
    np.testing.assert_allclose(diagonal, leading, rtol=0.02)
    np.testing.assert_allclose(objective.eigenvalues(), leading, rtol=0.02)
    np.testing.assert_allclose(
        objective.metrics()["chi2_information"],
        np.sum(leading**2) - 1.0,
        rtol=0.01,
    )


@pytest.mark.parametrize(
    "tracking, rate",
    [("lead", 0.3), ("corrected", "adaptive"), ("mean", "adaptive")],
)
def test_small_batches_reach_the_eigenfunctions_too(tracking, rate):
    """Of 16 pairs, each left out of its own Lambda: only noise is left."""
    graph = AugmentationGraph.random(seed=0)
    objective = MINC(DIM, rate=rate, tracking=tracking, mu=None)
    pairs = graph.sample(16 * STEPS, 0)
    batches = [states.reshape(STEPS, 16) for states in pairs]
    trainer = Trainer(objective, graph.num_states)
    table = trainer.train(*batches, learning_rate=0.3, seed=0)
    assert graph.overlaps(table).min() > 0.95
    optimum = graph.optimal_objective(DIM)
    np.testing.assert_allclose(graph.objective(table), optimum, rtol=0.05)


def test_full_second_moment_finds_the_subspace_and_rotation_the_order():
    graph = AugmentationGraph.random(seed=0)
    objective = MINC(DIM, triangular=False, mu=None)
    table = train_full_batch(graph, objective)

    assert graph.subspace_error(table) < 1e-4
    assert graph.overlaps(table).max() < 0.95
    rotated = table @ np.array(objective.rotation())
    assert graph.overlaps(rotated).min() > 0.99
    np.testing.assert_allclose(
        objective.eigenvalues(), graph.eigenvalues[:DIM], rtol=0.02
    )


def test_both_objectives_reach_the_optimum_of_the_spectral_objective():
    graph = AugmentationGraph.random(seed=0)
    optimum = graph.optimal_objective(DIM)
    table = train_full_batch(graph, MINC(DIM, mu=None))
    np.testing.assert_allclose(graph.objective(table), optimum, rtol=1e-3)

    # The spectral loss compares the images of a batch, so no weights: large
    # random batches stand for the full one.
    rng = np.random.default_rng(0)
    first, second = graph.sample(256 * STEPS, rng)
    trainer = Trainer(SpectralContrastive(mu=None), graph.num_states)
    table = trainer.train(
        first.reshape(STEPS, 256),
        second.reshape(STEPS, 256),
        learning_rate=0.3,
        seed=0,
    )
    np.testing.assert_allclose(graph.objective(table), optimum, rtol=0.02)


@needs_tensorflow("a result about the rate, not about a backend")
def test_adaptive_rate_is_about_as_good_as_the_best_fixed_rate():
    batch = 16
    graph = AugmentationGraph.random(seed=0)
    learning_rates = (0.3, 3.0)
    fixed_rates = (0.02, 0.1, 0.5)
    pairs = [
        [states.reshape(STEPS, batch) for states in sample]
        for sample in (graph.sample(batch * STEPS, seed) for seed in range(3))
    ]
    errors = {}
    for rate in ("adaptive", *fixed_rates):
        objective = MINC(
            DIM, rate=rate, tracking="mean", self_pairs=True, mu=None
        )
        trainer = Trainer(objective, graph.num_states)
        for learning_rate in learning_rates:
            tables = [
                trainer.train(
                    *pairs[seed], learning_rate=learning_rate, seed=seed
                )
                for seed in range(3)
            ]
            # A fixed rate may diverge; the largest error there is, then.
            errors[rate, learning_rate] = np.median(
                [
                    graph.subspace_error(table)
                    if np.all(np.isfinite(table))
                    else 1.0
                    for table in tables
                ]
            )
    for learning_rate in learning_rates:
        adaptive = errors["adaptive", learning_rate]
        best = min(errors[rate, learning_rate] for rate in fixed_rates)
        assert best < 0.5, "nothing is learnt at this learning rate"
        assert adaptive <= 1.25 * best, (learning_rate, errors)
