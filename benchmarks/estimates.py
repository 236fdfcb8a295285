"""Lag, noise and self-pairs of an estimate of Lambda, a picture each.

    python benchmarks/estimates.py

A linear network embeds Gaussian images, so that the exact Lambda is known at
every step. Its weights turn, fast at first, as those of a young network do. In
NumPy, a few seconds; writes `docs/pictures/lag.png`, `noise.png` and
`self_pairs.png`.
"""

import numpy as np
from record import ROOT

DIM, LATENT, NOISE, RATE = 32, 12, 0.3, 0.3
PICTURES = ROOT / "docs" / "pictures"


class World:
    """Images whose two views share a latent vector of so many dimensions."""

    def __init__(self, seed, latent=LATENT):
        self.rng = np.random.default_rng(seed)
        self.weights = np.zeros((DIM, latent))
        self.weights[:latent] = np.eye(latent)
        turn = self.rng.normal(size=(DIM, DIM))
        self.turn = (turn - turn.T) / np.sqrt(DIM)

    def weights_at(self, angle):
        """The weights, turned by an angle."""
        values, vectors = np.linalg.eigh(1j * self.turn)
        spin = (vectors * np.exp(-1j * angle * values)) @ vectors.conj().T
        return spin.real @ self.weights

    def batch(self, size):
        """Latent vectors and the noise of both views."""
        shared = self.rng.normal(size=(size, self.weights.shape[1]))
        return [
            shared + NOISE * self.rng.normal(size=shared.shape)
            for _ in range(2)
        ]


def moment(weights, views):
    """The moment of a batch under some weights."""
    both = np.concatenate(views) @ weights.T
    return both.T @ both / len(both)


def exact(weights):
    """The moment of all images."""
    return (1.0 + NOISE**2) * weights @ weights.T


def error(found, wanted):
    """Relative, in Frobenius's norm."""
    return np.linalg.norm(found - wanted) / np.linalg.norm(wanted)


def track(seed, size, speed, steps=150, latent=LATENT):
    """Errors (steps,) of each estimate on the same batches."""
    world = World(seed, latent)
    errors = {"mean": [], "lead": [], "corrected": [], "batch": []}
    kept, angle, before = {}, 0.0, world.weights_at(0.0)
    for step in range(steps):
        angle += speed * 0.97**step
        weights = world.weights_at(angle)
        views = world.batch(size)
        now, past = moment(weights, views), moment(before, views)
        if not kept:
            kept = {"mean": now, "corrected": now, "smooth": now}
        kept["corrected"] = now + (1 - RATE) * (kept["corrected"] - past)
        kept["mean"] = (1 - RATE) * kept["mean"] + RATE * now
        kept["smooth"] += RATE * (kept["mean"] - kept["smooth"])
        found = {
            "mean": kept["mean"],
            "lead": 2 * kept["mean"] - kept["smooth"],
            "corrected": kept["corrected"],
            "batch": now,
        }
        for name, value in found.items():
            errors[name].append(error(value, exact(weights)))
        before = weights
    return {name: np.array(value) for name, value in errors.items()}


def push(seed, size, left_out):
    """The mean of z1' Lambda z1 over the exact one; Lambda is the batch's."""
    world = World(seed)
    views = world.batch(size)
    z1, z2 = (view @ world.weights.T for view in views)
    found = moment(world.weights, views)
    pushed = np.einsum("id,de,ie->i", z1, found, z1)
    if left_out:
        own = (np.sum(z1 * z1, 1) ** 2 + np.sum(z1 * z2, 1) ** 2) / 2
        pushed = (size * pushed - own) / (size - 1)
    wanted = exact(world.weights)
    return pushed.mean() / np.einsum("id,de,ie->i", z1, wanted, z1).mean()


def mean_of(function, *arguments, seeds=20):
    """The mean over seeds."""
    return np.mean([function(seed, *arguments) for seed in range(seeds)])


def draw(name, x, lines, *, xlabel, ylabel, log=False):
    """Writes one picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for label, y in lines.items():
        axes.plot(x, y, label=label, marker="o" if log else None)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    if log:
        axes.set_xscale("log", base=2)
        axes.set_xticks(x, [str(value) for value in x])
    axes.grid(alpha=0.3)
    axes.legend()
    PICTURES.mkdir(exist_ok=True)
    figure.savefig(PICTURES / f"{name}.png", dpi=110)


def main():
    """Draws all three."""
    runs = [track(seed, 64, 0.12) for seed in range(20)]
    names = {
        "mean": "running mean, rate 0.3",
        "lead": "lead",
        "corrected": "corrected",
        "batch": "the batch's own",
    }
    draw(
        "lag",
        np.arange(150),
        {
            label: np.mean([run[name] for run in runs], axis=0)
            for name, label in names.items()
        },
        xlabel="step; the network slows down",
        ylabel="error of Lambda, B = 64",
    )
    sizes = [8, 16, 32, 64, 128, 256]

    def late(seed, size, name, latent):
        return track(seed, size, 0.0, 60, latent)[name][30:].mean()

    draw(
        "noise",
        sizes,
        {
            f"{names[name]}, rank {latent}": [
                mean_of(late, size, name, latent, seeds=5) for size in sizes
            ]
            for latent in (4, 24)
            for name in ("batch", "mean")
        },
        xlabel="B",
        ylabel="error of Lambda at rest",
        log=True,
    )
    draw(
        "self_pairs",
        sizes,
        {
            label: [mean_of(push, size, left, seeds=100) for size in sizes]
            for label, left in (
                ("each image among the others", False),
                ("left out of its own Lambda", True),
            )
        },
        xlabel="B",
        ylabel="repulsion over the exact one",
        log=True,
    )


if __name__ == "__main__":
    main()
