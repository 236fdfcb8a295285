"""The bytes that replicas exchange, against the collectives of traced steps."""

import json
import pathlib
import subprocess
import sys

import collectives
import keras
import numpy as np
import pytest
from keras import layers

from minc_tf.diagnostics import exchanged_bytes, network_bytes, ring_bytes
from minc_tf.objectives import MINC, Objective, SpectralContrastive, VICReg

REPLICAS = 2
TYPES = {
    "all_reduce": "CollectiveReduceV2",
    "all_gather": "CollectiveGatherV2",
}


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """Collectives of objectives and steps: (type, dtype, size) by device."""
    path = tmp_path_factory.mktemp("collectives") / "out.json"
    program = pathlib.Path(collectives.__file__)
    subprocess.run(
        [sys.executable, program, str(REPLICAS), path], check=True, timeout=300
    )
    return json.loads(path.read_text())


def payload(devices):
    """Float bytes by collective; integers must be few."""
    assert len(devices) == REPLICAS
    assert all(device == devices[0] for device in devices)
    total, shapes, gathers = dict.fromkeys(TYPES, 0), 0, 0
    names = {kind: name for name, kind in TYPES.items()}
    for kind, dtype, size in devices[0]:
        if dtype == "int32":
            shapes += 4 * size
            continue
        assert dtype == "float32"
        total[names[kind]] += 4 * size
        gathers += kind == TYPES["all_gather"]
    assert shapes <= 16 * REPLICAS * gathers
    return total


@pytest.mark.slow
@pytest.mark.parametrize(("method", "batch", "dim"), collectives.OBJECTIVES)
def test_objective_exchanges_what_is_counted(traced, method, batch, dim):
    found = payload(traced["objectives"][f"{method} {batch} {dim}"])
    objective = collectives.make_objective(method, dim)
    assert exchanged_bytes(objective, batch, dim, REPLICAS) == found


@pytest.mark.slow
@pytest.mark.parametrize(("method", "micro_batches"), collectives.STEPS)
def test_step_exchanges_what_is_counted(traced, method, micro_batches):
    """Objective, batch statistics and gradients, and nothing else."""
    found = payload(traced["steps"][f"{method} {micro_batches}"])
    model = collectives.make_model(method, micro_batches)
    expected = exchanged_bytes(
        model.objective,
        collectives.STEP_BATCH,
        collectives.STEP_DIM,
        REPLICAS,
        previous=model.embeds_previous,
    )
    network = network_bytes(model, REPLICAS)
    assert network["gradients"] == 4 * sum(
        int(np.prod(v.shape)) for v in model.trainable_variables
    )
    expected["all_reduce"] += sum(network.values())
    assert found == expected


def test_minc_does_not_depend_on_the_batch():
    """Moments, their sampling variances and covariance, and the loss."""
    for batch in (8, 512, 65536):
        found = exchanged_bytes(MINC(dim=256, mu=None), batch, 256, replicas=8)
        assert found == {"all_reduce": 4 * (256**2 + 2), "all_gather": 0}
        found = exchanged_bytes(
            MINC(dim=256, mu=None), batch, 256, replicas=8, previous=True
        )
        assert found == {"all_reduce": 4 * (2 * 256**2 + 4), "all_gather": 0}
    with pytest.raises(ValueError, match="previous must be False"):
        exchanged_bytes(SpectralContrastive(), 8, 4, 2, previous=True)


def test_spectral_takes_the_cheaper_form_of_a_small_batch():
    objective = SpectralContrastive()
    pairs = exchanged_bytes(objective, 512, 256, replicas=8)
    moments = exchanged_bytes(objective, 520, 256, replicas=8)
    assert pairs["all_gather"] == 4 * 512 * 256
    assert moments == {"all_reduce": 4 * (4 * 256**2 + 3), "all_gather": 0}


def test_one_replica_exchanges_nothing():
    assert set(exchanged_bytes(VICReg(), 8, 4, 1).values()) == {0}
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    assert set(network_bytes(model, 1).values()) == {0}
    assert ring_bytes(1, all_reduce=8, all_gather=8) == 0.0


@pytest.mark.parametrize("count", [2, 3, 8])
def test_ring_bytes_are_those_of_a_ring(count):
    """Chunks passed on to the next replica: summed first, then copied."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(count, count, 5)).astype("float32")
    held, sent = values.copy(), 0
    for first, add in ((0, True), (1, False)):
        for step in range(count - 1):
            before = held.copy()
            for rank in range(count):
                chunk, other = (rank + first - step) % count, rank + 1
                passed = before[rank, chunk]
                kept = before[other % count, chunk] if add else 0.0
                held[other % count, chunk] = kept + passed
                sent += passed.nbytes if rank == 0 else 0
    total = np.broadcast_to(values.sum(0), held.shape)
    np.testing.assert_allclose(held, total, rtol=1e-5, atol=1e-6)
    payload = values[0].nbytes
    assert ring_bytes(count, all_reduce=payload) == sent
    # Gathering is the second half of it.
    assert ring_bytes(count, all_gather=payload) == sent / 2


def test_statistics_of_one_replica_or_none_are_not_exchanged():
    model = keras.Sequential(
        [
            keras.Input((5,)),
            layers.BatchNormalization(synchronized=True, name="frozen"),
            layers.BatchNormalization(),
            layers.Dense(7),
            layers.BatchNormalization(synchronized=True, scale=False),
        ]
    )
    model.get_layer("frozen").trainable = False
    assert network_bytes(model, 4) == {
        "gradients": 4 * (5 + 5 + 5 * 7 + 7 + 7),
        "statistics": 4 * 5 * 7,
    }


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            (MINC(4, mu=None), 9, 4, 2),
            ValueError,
            "replicas=2 must divide batch_size=9",
        ),
        (
            (MINC(4, mu=None), 8, 5, 2),
            ValueError,
            "the objective's, 4; received 5",
        ),
        (
            (MINC(4, mu=None), 8, 4, 0),
            ValueError,
            "replicas must be .* received 0",
        ),
        (
            (MINC(4, mu=None), 8.0, 4, 2),
            ValueError,
            "batch_size must be .* 8.0",
        ),
        ((Objective(), 8, 4, 2), TypeError, "Objective is abstract"),
        (("minc", 8, 4, 2), TypeError, "received str"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        exchanged_bytes(*arguments)


def test_unbuilt_model():
    with pytest.raises(ValueError, match="must be built; later is not"):
        network_bytes(keras.Sequential([layers.Dense(2)], name="later"), 2)
