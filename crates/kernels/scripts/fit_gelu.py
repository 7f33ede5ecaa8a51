"""Fits the polynomials of `src/cpu/gelu.rs` and prints them with their errors.

gelu(x) = max(x, 0) - |x| Q(|x|), where Q(a) = 1 - Phi(a) = phi(a) M(a) and M is Mills' ratio.
M is smooth and falls like 1/a, so it is a short polynomial in t = 1 / (1 + p a) without constant
term (the form of Hastings, 1955; Abramowitz and Stegun 7.1.26), here fitted anew: weighted
minimax by Lawson's iteration, weight a phi(a) (absolute error of gelu) plus 1/M for small a
(relative error). The exponential is exp(r) = 1 + r + r^2 P(r) on |r| <= ln(2) / 2.

    python3 fit_gelu.py
"""

import math

import numpy as np


def mills(a):
    return math.erfc(a / math.sqrt(2)) / 2 * math.sqrt(2 * math.pi) * math.exp(a * a / 2)


def lawson(basis, target, weight, rounds=300):
    """Minimax fit of basis @ c to target under weight."""
    w = np.ones(len(target)) / len(target)
    best = (np.inf, None)
    for _ in range(rounds):
        s = np.sqrt(w) * weight
        c = np.linalg.lstsq(basis * s[:, None], target * s, rcond=None)[0]
        e = np.abs(basis @ c - target) * weight
        if e.max() < best[0]:
            best = (e.max(), c)
        w = w * (e + 1e-3 * e.max())
        w /= w.sum()
    return best


def fit_mills(p, degree):
    a = 7 * (1 - np.cos(np.linspace(0, math.pi, 3001))) / 2
    m = np.array([mills(v) for v in a])
    phi = np.exp(-a * a / 2) / math.sqrt(2 * math.pi)
    # In units of 1e-7: 0.2e-7 absolute on gelu, 1e-7 relative while |gelu| > 5e-4.
    weight = np.maximum((a + 0.5) * phi / 0.2, np.where(a < 3.6, 1 / m, 0)) * 1e7
    t = 1 / (1 + p * a)
    return lawson(np.stack([t ** (i + 1) for i in range(degree)], 1), m, weight)


def main():
    for degree in (6, 7, 8):
        grid = [(fit_mills(p, degree)[0], p) for p in np.arange(0.16, 0.5, 0.02)]
        err, p = min(grid)
        print(f"mills degree {degree}: p {p:.2f} weighted error {err:.3f} (units of 1e-7)")
        print("  ", [float(f"{c:.9g}") for c in fit_mills(p, degree)[1]])
    r = math.log(2) / 2 * np.cos(np.linspace(0, math.pi, 2001))
    r = r[np.abs(r) > 1e-3]
    for degree in (4, 5):
        target = (np.exp(r) - 1 - r) / r**2
        err, c = lawson(np.stack([r**i for i in range(degree)], 1), target, r**2 * np.exp(-r))
        print(f"exp degree {degree + 1}: relative error {err:.2e}")
        print("  ", [float(f"{v:.9g}") for v in c])


if __name__ == "__main__":
    main()
