"""LARS against its formulas in NumPy."""

import keras
import numpy as np
import pytest
from keras import ops

from minc_tf.optimizers import LARS

SHAPES = [(3, 4), (4,), (2, 2, 3, 2), (3, 3), ()]


class SlowLARS:
    """Both forms in float64, variable by variable."""

    def __init__(
        self, momentum, weight_decay, trust_coefficient, momentum_of, nesterov
    ):
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.trust_coefficient = trust_coefficient
        self.momentum_of = momentum_of
        self.nesterov = nesterov
        self.slots = {}

    def step(self, weights, gradients, rate):
        return [
            self._step(i, w, g, rate)
            for i, (w, g) in enumerate(zip(weights, gradients, strict=True))
        ]

    def _step(self, index, w, g, rate):
        if w.ndim > 1:
            g = g + self.weight_decay * w
            norm_w, norm_g = np.sqrt(np.sum(w**2)), np.sqrt(np.sum(g**2))
            if norm_w > 0 and norm_g > 0:
                g = self.trust_coefficient * norm_w / norm_g * g
        if self.momentum_of == "update":
            slot = self.momentum * self.slots.get(index, 0.0) + rate * g
            look_ahead = self.momentum * slot + rate * g
            step = look_ahead if self.nesterov else slot
        else:
            slot = self.momentum * self.slots.get(index, 0.0) + g
            look_ahead = self.momentum * slot + g
            step = rate * (look_ahead if self.nesterov else slot)
        self.slots[index] = slot
        return w - step


def schedule():
    """A rate that changes at every step."""
    return keras.optimizers.schedules.PolynomialDecay(0.8, 6, 0.05, power=2)


def arrays(seed):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype("float32") for shape in SHAPES]


def start():
    weights = arrays(0)
    weights[3][:] = 0.0  # has no norm to trust
    return weights


def steps():
    gradients = [arrays(seed) for seed in range(1, 7)]
    gradients[2][0][:] = 0.0  # nor has this
    return gradients


@pytest.mark.parametrize("momentum_of", ["update", "gradient"])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_six_steps_of_a_changing_rate(momentum_of, nesterov, weight_decay):
    kwargs = {
        "momentum": 0.9,
        "weight_decay": weight_decay,
        "trust_coefficient": 0.02,
        "momentum_of": momentum_of,
        "nesterov": nesterov,
    }
    optimizer, slow = LARS(schedule(), **kwargs), SlowLARS(**kwargs)
    variables = [keras.Variable(w) for w in start()]
    expected = [w.astype("float64") for w in start()]
    for step, gradients in enumerate(steps()):
        rate = 0.05 + 0.75 * (1 - step / 6) ** 2
        optimizer.apply(list(map(ops.convert_to_tensor, gradients)), variables)
        expected = slow.step(expected, gradients, rate)
        for variable, value in zip(variables, expected, strict=True):
            np.testing.assert_allclose(variable, value, rtol=1e-5, atol=1e-6)


def test_the_two_forms_differ_only_when_the_rate_changes():
    results = {}
    for momentum_of in ("update", "gradient"):
        for rate in (0.1, schedule()):
            variables = [keras.Variable(w) for w in start()]
            optimizer = LARS(rate, momentum_of=momentum_of)
            for gradients in steps():
                optimizer.apply(
                    list(map(ops.convert_to_tensor, gradients)), variables
                )
            kernel = np.array(variables[1])
            results[momentum_of, isinstance(rate, float)] = kernel
    np.testing.assert_allclose(
        results["update", True], results["gradient", True], rtol=1e-4, atol=1e-5
    )
    difference = results["update", False] - results["gradient", False]
    assert np.abs(difference).max() > 0.1


def test_a_layer_moves_by_a_share_of_its_norm():
    """Whatever the size of the gradient: the point of LARS."""
    weights = arrays(0)[0]
    for size in (1e-6, 1e6):
        variable = keras.Variable(weights)
        gradient = ops.convert_to_tensor(size * arrays(1)[0])
        LARS(0.5, trust_coefficient=0.01).apply([gradient], [variable])
        moved = np.linalg.norm(np.array(variable) - weights)
        np.testing.assert_allclose(
            moved, 0.5 * 0.01 * np.linalg.norm(weights), rtol=1e-4
        )


def test_rank_decides_and_not_the_name():
    """A bias takes a plain step; so does anything of rank one."""
    variable = keras.Variable(arrays(0)[1], name="kernel")
    optimizer = LARS(0.5, weight_decay=10.0, trust_coefficient=10.0)
    optimizer.apply([ops.convert_to_tensor(arrays(1)[1])], [variable])
    np.testing.assert_allclose(
        variable, arrays(0)[1] - 0.5 * arrays(1)[1], rtol=1e-5
    )


def test_config_round_trip():
    optimizer = LARS(
        schedule(),
        momentum=0.8,
        weight_decay=0.01,
        trust_coefficient=0.1,
        momentum_of="gradient",
        nesterov=True,
        clipnorm=1.0,
        name="chosen",
    )
    config = keras.saving.serialize_keras_object(optimizer)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is LARS
    assert again.get_config() == optimizer.get_config()
    assert (again.momentum, again.coupled_weight_decay) == (0.8, 0.01)
    # Keras's own decay is another one, and would come on top.
    assert again.weight_decay is None
    for each in (optimizer, again):
        each.apply([ops.ones((2, 2))], [keras.Variable(np.ones((2, 2)))])
    np.testing.assert_array_equal(again.variables[-1], optimizer.variables[-1])


@pytest.mark.parametrize("jit_compile", [False, True])
def test_fit_equals_the_formulas(jit_compile):
    x, y = arrays(0)[0], arrays(1)[0][:, :2]
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    kwargs = {
        "momentum": 0.9,
        "weight_decay": 0.1,
        "trust_coefficient": 0.02,
        "momentum_of": "update",
        "nesterov": False,
    }
    model.compile(LARS(0.5, **kwargs), loss="mse", jit_compile=jit_compile)
    slow = SlowLARS(**kwargs)
    weights = [w.astype("float64") for w in model.get_weights()]
    for _ in range(3):
        error = 2 * (x @ weights[0] + weights[1] - y) / y.size
        weights = slow.step(weights, [x.T @ error, error.sum(axis=0)], 0.5)
    model.fit(x, y, epochs=3, verbose=0)
    for found, expected in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "argument, value",
    [
        ("momentum", 1.0),
        ("momentum", -0.1),
        ("weight_decay", -1e-4),
        ("trust_coefficient", 0.0),
        ("momentum_of", "both"),
    ],
)
def test_arguments_out_of_range(argument, value):
    with pytest.raises(ValueError, match=f"LARS: {argument} must .*{value!r}"):
        LARS(**{argument: value})
