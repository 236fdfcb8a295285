# %% [markdown]
# # Notebook 3: what MINC learns
#
# A finite world: sixty "views", and the probability that two of them show the
# same image. Its eigenfunctions can be computed, so that what is learnt can be
# compared with what there is to learn. Seconds on two CPU cores.

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

import minc_tf

STEPS = 1500
BATCHES = 400
DIM = 6

graph = minc_tf.diagnostics.AugmentationGraph.random(seed=1)
print(
    graph.num_states, "views; eigenvalues", np.round(graph.eigenvalues[:8], 3)
)

# %% [markdown]
# ## The graph
#
# Left, how often two views are of the same image: the blocks are classes.
# Right, its eigenvalues. The first is 1, of the constant function; those before
# the gap tell classes apart, the others images of one class.

# %% alt="A matrix with eight blocks of pairs, and the falling eigenvalues."
order = np.argsort(np.arange(graph.num_states) % 8, kind="stable")
figure, axes = plt.subplots(1, 2, figsize=(8, 3))
axes[0].imshow(np.sqrt(graph.joint[np.ix_(order, order)]), cmap="Greys")
axes[0].set(title="pairs of views", xticks=[], yticks=[])
axes[1].bar(np.arange(1, 17), graph.eigenvalues[:16])
axes[1].set(title="eigenvalues", xlabel="i")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## Train a table
#
# The encoder is a table, one embedding a view, so nothing but the loss decides
# what is found. The batch is all pairs, with their probabilities as weights.

# %%
first, second, weight = graph.pairs()


def train(objective, steps, batches=None, rate=0.05, watch=None):
    """Gradient descent on a table; `watch` is called now and then."""
    start = 0.1 * np.random.default_rng(0).standard_normal((60, DIM))
    table = tf.Variable(start.astype("float32"))
    objective.build((None, DIM), (None, DIM))

    @tf.function
    def step(i, j, sample_weight):
        with tf.GradientTape() as tape:
            z1, z2 = tf.gather(table, i), tf.gather(table, j)
            loss = objective(z1, z2, training=True, sample_weight=sample_weight)
        gradient = tf.convert_to_tensor(tape.gradient(loss, table))
        table.assign_sub(rate * gradient)
        return loss

    whole = tf.ones(len(weight)) * weight
    for t in range(steps):
        if batches is None:
            loss = step(first, second, whole)
        else:
            i, j = batches(t)
            loss = step(i, j, tf.ones(len(i)))
        if watch is not None and t % 10 == 0:
            watch(t, table.numpy(), float(loss))
    return table.numpy()


def minc(**settings):
    keras.utils.set_random_seed(0)
    return minc_tf.objectives.MINC(dim=DIM, mu=None, **settings)


exact = {"tracking": "mean", "rate": 1.0, "self_pairs": True}
ordered = train(minc(triangular=True, **exact), STEPS, rate=1.0)
rotated = train(minc(triangular=False, **exact), STEPS, rate=1.0)
best = graph.optimal_objective(DIM)
for name, table in (("triangle", ordered), ("full Lambda", rotated)):
    print(f"{name}: J / J* = {graph.objective(table) / best:.4f}")

# %% [markdown]
# ## In order
#
# Both reach the optimum. With the triangle coordinate i *is* eigenfunction i;
# without it the coordinates span the same space, rotated. (`MINC.rotation()`
# orders these.)


# %% alt="Overlaps: with the triangle a diagonal matrix, else a mixture."
def overlaps(table):
    """|<phi_i, u_j>| / ||phi_i||, of every i and j."""
    inner = table.T @ (graph.marginal[:, None] * graph.eigenfunctions[:, :DIM])
    return np.abs(inner) / np.sqrt(graph.marginal @ table**2)[:, None]


figure, axes = plt.subplots(1, 2, figsize=(7, 3.2))
pairs = (("triangle of Lambda", ordered), ("full Lambda", rotated))
for axis, (name, table) in zip(axes, pairs, strict=True):
    axis.imshow(overlaps(table), vmin=0, vmax=1, cmap="Blues")
    axis.set(title=name, xlabel="eigenfunction", ylabel="coordinate")
figure.tight_layout()
plt.show()
print("overlaps with the triangle:", np.round(graph.overlaps(ordered), 3))

# %% [markdown]
# ## Lambda's lag
#
# In batches Lambda must be estimated. A running mean is the moment of older
# weights: while the embedding grows it is too small, and repels too little. The
# embedding overshoots, and the information that the loss reports, `-loss - 1`,
# is more than there is. Leading the mean by its trend mends that.


# %% alt="Information, reported and true, over the steps: mean and lead."
def curve(objective):
    rng = np.random.default_rng(0)
    reported, true = [], []

    def watch(t, table, loss):
        reported.append(-loss - 1.0)
        true.append(graph.objective(table) - 1.0)

    train(
        objective,
        BATCHES,
        batches=lambda t: graph.sample(256, rng),
        rate=0.5,
        watch=watch,
    )
    return np.asarray(reported), np.asarray(true)


forms = {
    "running mean, rate .02": {"tracking": "mean", "rate": 0.02},
    "lead": {"tracking": "lead"},
}
figure, axes = plt.subplots(1, 2, figsize=(8, 3), sharey=True)
for axis, (name, settings) in zip(axes, forms.items(), strict=True):
    reported, true = curve(minc(triangular=False, **settings))
    axis.plot(10 * np.arange(len(true)), reported, ".", ms=3, label="reported")
    axis.plot(10 * np.arange(len(true)), true, lw=2, label="there is")
    axis.axhline(best - 1.0, color="grey", lw=1, ls="--", label="the most")
    axis.set(title=name, xlabel="step", ylim=(-1.5, 3))
axes[0].set_ylabel("information")
axes[0].legend()
figure.tight_layout()
plt.show()

# %% [markdown]
# ## The spectrum
#
# At the optimum the second moment of coordinate i is the eigenvalue i. The
# first k coordinates hold this share of the information; the constant one holds
# none.

# %% alt="Learnt eigenvalues on the exact ones; the share of the first k."
learnt = graph.marginal @ ordered**2
share = minc_tf.diagnostics.captured_share(learnt[1:])
figure, axes = plt.subplots(1, 2, figsize=(8, 2.8))
axes[0].plot(np.arange(1, DIM + 1), graph.eigenvalues[:DIM], "o", label="exact")
axes[0].plot(np.arange(1, DIM + 1), learnt, "x", ms=9, label="learnt")
axes[0].set(title="eigenvalues", xlabel="i")
axes[0].legend()
axes[1].plot(np.arange(1, DIM), 100 * share, "o-")
axes[1].set(title="information of the first k, %", xlabel="k", ylim=(0, 105))
figure.tight_layout()
plt.show()

# %% [markdown]
# How Lambda is tracked in real runs, and what that costs: [MINC](../minc.md).
# What the numbers of a run mean: [diagnostics](../diagnostics.md).
