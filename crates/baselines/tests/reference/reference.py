"""Makes the reference numbers of tests/glow.rs (float64 PyTorch) and tests/glo.rs (NumPy).

    pip install torch safetensors numpy scipy
    python reference.py            # writes the files beside this script

Weights and inputs are rounded to float32 first, so that both sides start from the same numbers;
everything after that is float64.
"""
import json
import math
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from scipy.ndimage import convolve1d

HERE = pathlib.Path(__file__).parent
LEVELS, STEPS, WIDTH, IMAGE, COUNT = 2, 2, 3, (3, 8, 8), 2


def glow_weights(generator):
    weights = {}

    def draw(name, *shape, scale=0.15):
        weights[name] = torch.randn(*shape, generator=generator) * scale

    def conv(name, inputs, outputs, kernel):
        draw(f"{name}.weight", outputs, inputs, kernel, kernel)
        draw(f"{name}.bias", outputs)

    channels = IMAGE[0]
    for level in range(LEVELS):
        channels *= 4
        for step in range(STEPS):
            at = f"levels.{level}.steps.{step}"
            draw(f"{at}.actnorm.bias", channels)
            draw(f"{at}.actnorm.log_scale", channels)
            weights[f"{at}.conv.rows"] = torch.randperm(channels, generator=generator)
            weights[f"{at}.conv.signs"] = torch.randint(0, 2, (channels,), generator=generator) * 2 - 1
            # L below the diagonal, U above, the logarithms of |D| on it.
            draw(f"{at}.conv.factors", channels, channels)
            conv(f"{at}.coupling.conv1", channels // 2, WIDTH, 3)
            conv(f"{at}.coupling.conv2", WIDTH, WIDTH, 1)
            conv(f"{at}.coupling.conv3", WIDTH, channels // 2, 3)
        if level + 1 < LEVELS:
            conv(f"levels.{level}.split.conv", channels // 2, channels, 3)
            channels //= 2
    return weights


def glow(weights, y):
    """The noise and log-determinant of y: float64."""
    w = {name: value.double() if value.is_floating_point() else value for name, value in weights.items()}

    def conv(name, x, padding):
        return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], padding=padding)

    x, noise, log_det = y, [], torch.zeros(len(y), dtype=torch.float64)
    for level in range(LEVELS):
        # Channel 4 c + 2 i + j is row i, column j of the 2x2 squares of channel c.
        x = F.pixel_unshuffle(x, 2)
        pixels = x.shape[2] * x.shape[3]
        for step in range(STEPS):
            at = f"levels.{level}.steps.{step}"
            bias, log_scale = w[f"{at}.actnorm.bias"], w[f"{at}.actnorm.log_scale"]
            x = (x + bias[:, None, None]) * log_scale.exp()[:, None, None]
            factors = w[f"{at}.conv.factors"]
            lower = torch.tril(factors, -1) + torch.eye(x.shape[1], dtype=torch.float64)
            diagonal = w[f"{at}.conv.signs"] * factors.diagonal().exp()
            upper = torch.triu(factors, 1) + torch.diag(diagonal)
            matrix = (lower @ upper)[w[f"{at}.conv.rows"]]
            x = torch.einsum("ij,njhw->nihw", matrix, x)
            # The determinant itself, not the sum of logarithms.
            log_det = log_det + pixels * (log_scale.sum() + torch.linalg.slogdet(matrix)[1])
            a, b = x.chunk(2, 1)
            hidden = F.relu(conv(f"{at}.coupling.conv1", a, 1))
            hidden = F.relu(conv(f"{at}.coupling.conv2", hidden, 0))
            x = torch.cat([a, b + conv(f"{at}.coupling.conv3", hidden, 1)], 1)
        if level + 1 < LEVELS:
            x, out = x.chunk(2, 1)
            mean, log_scale = conv(f"levels.{level}.split.conv", x, 1).chunk(2, 1)
            noise.append(((out - mean) * torch.exp(-log_scale)).flatten(1))
            log_det = log_det - log_scale.flatten(1).sum(1)
        else:
            noise.append(x.flatten(1))
    return torch.cat(noise, 1), log_det


def write_glow():
    generator = torch.Generator().manual_seed(1)
    weights = glow_weights(generator)
    y = torch.randn(COUNT, *IMAGE, generator=generator) * 0.3
    noise, log_det = glow(weights, y.double())
    log_density = -0.5 * (noise.square() + math.log(2 * math.pi)).sum(1) + log_det
    save_file(weights, HERE / "glow.safetensors")
    case = {"y": y, "noise": noise, "log_det": log_det, "log_density": log_density}
    save_file({name: value.float().contiguous() for name, value in case.items()}, HERE / "glow_case.safetensors")
    print("glow:", log_det.tolist(), log_density.tolist())


TAPS = np.array([1, 4, 6, 4, 1]) / 16


def blur(x):
    """Separable, with what hangs over the border left out and the rest scaled up."""
    for axis in (-2, -1):
        x = convolve1d(x, TAPS, axis, mode="constant") / convolve1d(np.ones_like(x), TAPS, axis, mode="constant")
    return x


def expand(x, shape):
    """To `shape`, twice the size: zeros between, then the blur of what is there."""
    spread, there = np.zeros(shape), np.zeros(shape)
    spread[..., ::2, ::2], there[..., ::2, ::2] = x, 1
    for axis in (-2, -1):
        spread = convolve1d(spread, TAPS, axis, mode="constant")
        there = convolve1d(there, TAPS, axis, mode="constant")
    return spread / there


def pyramid(x, levels):
    bands = []
    for _ in range(levels):
        small = blur(x)[..., ::2, ::2]
        bands.append(x - expand(small, x.shape))
        x = small
    return bands + [x]


def write_laplacian():
    random = np.random.default_rng(1)
    a, b = random.uniform(-1, 1, (2, 1, 3, 14, 14)).astype(np.float32).astype(np.float64)
    # 14, 7, 4: an odd side on the way.
    bands = zip(pyramid(a, 2), pyramid(b, 2))
    loss = sum(4**j * np.abs(p - q).sum() for j, (p, q) in enumerate(bands)) / a.size
    case = {"a": a.ravel().tolist(), "b": b.ravel().tolist(), "loss": loss}
    (HERE / "laplacian.json").write_text(json.dumps(case) + "\n")
    print("laplacian:", loss)


write_glow()
write_laplacian()
