"""MINC in float64, image by image: what the objective is compared with."""

import numpy as np


class SlowMINC:
    """The method in float64, image by image."""

    def __init__(
        self,
        rate="adaptive",
        floor=0.6,
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
        own, batch = own_moments(z1, z2), len(z1)
        moment = sum(own) / batch
        first = self.second_moment is None
        if first:
            self.second_moment, self.trend, self.error = moment, 0.0, None
        if self.tracking == "corrected":
            before = own_moments(*previous)
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
            ratio = sampling_covariance(own, own) / np.sum(surprise**2)
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
        variance = sampling_covariance(own, own)
        rate = 1.0 if first else self.rate
        if first:
            self.error = variance
        elif rate == "adaptive":
            known = self.error + sampling_covariance(before, before)
            shared = sampling_covariance(own, before)
            kept = min(max(shared / known, 0.0), 1 - self.floor)
            self.error = kept**2 * known - 2 * kept * shared + variance
            rate = 1 - kept
        change = sum(before) / len(before)
        self.second_moment = moment + (1 - rate) * (self.second_moment - change)
        self.last_rate = rate
        return [(1.0, own), (rate - 1.0, before)]


def own_moments(z1, z2):
    z1, z2 = np.asarray(z1, "float64"), np.asarray(z2, "float64")
    return [
        (np.outer(a, a) + np.outer(b, b)) / 2
        for a, b in zip(z1, z2, strict=True)
    ]


def sampling_covariance(own, other):
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


#: The paper's form, but for its rate.
PAPER = {"tracking": "mean", "self_pairs": True}
