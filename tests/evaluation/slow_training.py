"""Softmax regression by momentum in double precision, from the formulas."""

import numpy as np


class SlowHead:
    """One linear classifier."""

    def __init__(self, weights, rate, optimizer):
        """Start at `weights`, (F, C), without bias."""
        self.w = np.array(weights, "float64")
        self.b = np.zeros(self.w.shape[1])
        self.mw, self.mb = np.zeros_like(self.w), np.zeros_like(self.b)
        self.rate = rate
        self.lars = optimizer == "lars"

    def train(self, x, y, factor):
        """Take one step."""
        logits = x @ self.w + self.b
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        p[np.arange(len(y)), y] -= 1
        gw, gb = x.T @ p / len(y), p.mean(0)
        if self.lars:
            gw *= 0.001 * np.linalg.norm(self.w) / np.linalg.norm(gw)
        gw, gb = self.rate * factor * gw, self.rate * factor * gb
        self.mw, self.mb = 0.9 * self.mw + gw, 0.9 * self.mb + gb
        if self.lars:
            self.w, self.b = self.w - self.mw, self.b - self.mb
        else:
            self.w -= 0.9 * self.mw + gw
            self.b -= 0.9 * self.mb + gb

    def accuracy(self, x, y):
        """Return the part of the samples that is predicted right."""
        return np.mean((x @ self.w + self.b).argmax(1) == y)
