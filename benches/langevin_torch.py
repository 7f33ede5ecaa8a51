"""Times one Langevin step (preset `released`, batch 8, 2 threads) in PyTorch eager and in shortrun,
alternately in the same minutes, and prints both.

    pip install torch numpy
    python benches/langevin_torch.py [--threads 2] [--rounds 3]
"""
import argparse
import json
import os
import pathlib
import subprocess
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

ROOT = pathlib.Path(__file__).parent.parent
DIMS, WIDTH, BATCH, SIGMA, ETA = [64, 64, 64, 96, 128], 64, 8, 0.15, 0.05


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(WIDTH, WIDTH, 5, padding=2)
        self.conv2 = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)

    def forward(self, h):
        return F.gelu(self.conv2(F.gelu(self.conv1(h)))) + h


class Layer(nn.Module):
    """Projection and residual block, and the heads of the next layer if there is one."""

    def __init__(self, d, below):
        super().__init__()
        self.linear = nn.Linear(d, 4 * 256)
        self.deconv = nn.ConvTranspose2d(4, WIDTH, 5, padding=2, bias=False)
        self.block = Residual()
        heads = [(nn.Conv2d(WIDTH, below, 5), nn.Linear(below * 144, below)) for _ in range(2)] \
            if below else []
        self.heads = nn.ModuleList(nn.ModuleList(head) for head in heads)

    def forward(self, z, above):
        h = F.gelu(self.deconv(F.gelu(self.linear(z)).view(-1, 4, 16, 16)))
        return self.block(h) + above

    def next(self, h, e):
        mean, v = (linear(F.gelu(conv(h)).flatten(1)) for conv, linear in self.heads)
        return mean + torch.exp(F.softplus(v).clamp(0, 10) / 2) * e


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(Layer(d, b) for d, b in zip(DIMS, DIMS[1:] + [0]))
        self.refine, self.output = Residual(), nn.ConvTranspose2d(WIDTH, 3, 4, 2, 1)

    def forward(self, latents):
        h, z = 0.0, latents[0]
        for i, layer in enumerate(self.layers):
            h = layer(z, h)
            if i + 1 < len(self.layers):
                z = layer.next(h, latents[i + 1])
        return torch.tanh(self.output(self.refine(h)))


def torch_step(channels_last):
    torch.manual_seed(0)
    g = Generator().requires_grad_(False)
    if channels_last:
        g = g.to(memory_format=torch.channels_last)
    x = torch.rand(BATCH, 3, 32, 32) * 2 - 1
    start = [torch.randn(BATCH, d) for d in DIMS]

    def step():
        z = [t.detach().requires_grad_() for t in start]
        energy = ((g(z) - x) ** 2).sum() / (2 * SIGMA ** 2)
        gradients = torch.autograd.grad(energy, z)
        return [t.detach() - ETA ** 2 / 2 * (d + t) + ETA * torch.randn_like(t)
                for t, d in zip(z, gradients)]

    return step


def median_ms(step, repeats=30, warm_up=5):
    times = []
    for i in range(repeats + warm_up):
        begun = time.perf_counter()
        step()
        times.append((time.perf_counter() - begun) * 1e3)
    return sorted(times[warm_up:])[repeats // 2]


def shortrun_ms(threads):
    env = dict(os.environ, RAYON_NUM_THREADS=str(threads))
    subprocess.run(["cargo", "bench", "--quiet", "--bench", "langevin"], cwd=ROOT, env=env,
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    found = {}
    for estimates in target.glob("criterion/langevin step*/*/new/estimates.json"):
        median = json.loads(estimates.read_text())["median"]["point_estimate"]
        found[estimates.parent.parent.name] = median / 1e6
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rounds = []
    for _ in range(args.rounds):
        times = {"PyTorch eager": median_ms(torch_step(False)),
                 "PyTorch eager, channels last": median_ms(torch_step(True))}
        times.update({f"shortrun {k}": v for k, v in shortrun_ms(args.threads).items()})
        rounds.append(times)
    print(f"one Langevin step, released, batch {BATCH}, {args.threads} threads, PyTorch "
          f"{torch.__version__}; medians in ms, one column a round")
    for name in rounds[0]:
        print(f"{name:32s}" + "".join(f"{times[name]:9.1f}" for times in rounds))


if __name__ == "__main__":
    main()
