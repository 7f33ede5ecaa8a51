"""Makes the float64 reference numbers of tests/pytorch.rs: weights, latents, images, and the
generator's forward pass, energy, and gradients in latents and weights, for small generators.

    pip install torch safetensors numpy
    python reference.py            # writes the .safetensors files beside this script
    python reference.py NAME       # those of one case

Weights, latents and images are rounded to float32 first, so that both sides start from the same
numbers; everything after that is float64.
"""
import json
import pathlib
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
SIGMA = 0.3

CASES = {
    "three_layers_28": dict(
        latents=[3, 4, 5], image_size=28, image_channels=1, features=4, seed_channels=2,
        head_width={"fixed": 3}, refine_blocks=0, scale="log-variance", parameterisation="non-centred"),
    "two_layers_64": dict(
        latents=[4, 3], image_size=64, image_channels=3, features=3, seed_channels=2,
        head_width="latent", refine_blocks=1, scale="softplus-log-variance",
        parameterisation="non-centred"),
    "three_layers_ladder": dict(
        architecture="ladder", latents=[3, 4, 2], image_size=32, image_channels=3, features=4,
        seed_channels=2, head_width="features", refine_blocks=1, scale="softplus-log-variance",
        parameterisation="non-centred"),
}


class Project(nn.Module):
    def __init__(self, c, size, d):
        super().__init__()
        self.size, self.channels = size, c["seed_channels"]
        self.linear = nn.Linear(d, self.channels * size * size)
        self.deconv = nn.ConvTranspose2d(self.channels, c["features"], 5, 1, 2, bias=False)

    def forward(self, z):
        seed = F.gelu(self.linear(z)).view(-1, self.channels, self.size, self.size)
        return F.gelu(self.deconv(seed))


class Residual(nn.Module):
    def __init__(self, n_f):
        super().__init__()
        self.conv1 = nn.Conv2d(n_f, n_f, 5, padding=2)
        self.conv2 = nn.Conv2d(n_f, n_f, 3, padding=1)

    def residual(self, h):
        return F.gelu(self.conv2(F.gelu(self.conv1(h)))) + h


class Block(Residual):
    def __init__(self, c, size, d):
        super().__init__(c["features"])
        self.project = Project(c, size, d)

    def forward(self, z):
        return self.residual(self.project(z))


class Head(nn.Module):
    def __init__(self, c, size, d):
        super().__init__()
        width = {"latent": d, "features": c["features"]}.get(c["head_width"]) \
            if isinstance(c["head_width"], str) else c["head_width"]["fixed"]
        self.conv = nn.Conv2d(c["features"], width, 5)
        self.linear = nn.Linear(width * (size - 4) ** 2, d)

    def forward(self, h):
        return self.linear(F.gelu(self.conv(h)).flatten(1))


class Stochastic(nn.Module):
    def __init__(self, c, size, d):
        super().__init__()
        self.mean, self.scale, self.form = Head(c, size, d), Head(c, size, d), c["scale"]

    def forward(self, h):
        v = self.scale(h)
        if self.form == "softplus-log-variance":
            v = F.softplus(v)
        return self.mean(h), torch.exp(v.clamp(-10, 10) / 2)


class Generator(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.dims = c["latents"]
        self.ladder = c.get("architecture") == "ladder"
        given_above = [] if self.ladder else self.dims[1:]
        size = 14 if c["image_size"] == 28 else 16
        n_f, doublings = c["features"], {28: 1, 32: 1, 64: 2}[c["image_size"]]
        self.blocks = nn.ModuleList(Block(c, size, d) for d in self.dims)
        self.stochastic = nn.ModuleList(Stochastic(c, size, d) for d in given_above)
        self.refine = nn.ModuleList(Residual(n_f) for _ in range(c["refine_blocks"]))
        widths = [n_f] * doublings + [c["image_channels"]]
        self.output = nn.ModuleList(
            nn.ConvTranspose2d(a, b, 4, 2, 1) for a, b in zip(widths, widths[1:]))

    def forward(self, flat, centred=False):
        """Images and -log p of the latents (without constants)."""
        given = torch.split(flat, self.dims, dim=1)
        prior = given[0].square().sum(1) / 2
        h = self.blocks[0](given[0])
        for i, heads in enumerate(self.stochastic):
            mean, scale = heads(h)
            if centred:
                z = given[i + 1]
                prior = prior + ((z - mean) / scale).square().sum(1) / 2 + scale.log().sum(1)
            else:
                z = mean + scale * given[i + 1]
                prior = prior + given[i + 1].square().sum(1) / 2
            h = self.blocks[i + 1](z) + h
        if self.ladder:
            prior = flat.square().sum(1) / 2
            for block, e in zip(self.blocks[1:], given[1:]):
                h = block.residual(block.project(e) + h)
        for block in self.refine:
            h = block.residual(h)
        for j, layer in enumerate(self.output):
            h = layer(h)
            if j + 1 < len(self.output):
                h = F.gelu(h)
        return torch.tanh(h), prior


def main():
    for name in sys.argv[1:] or CASES:
        config = CASES[name]
        torch.manual_seed(1)
        g = Generator(config)
        with torch.no_grad():
            # Larger than PyTorch's starting weights, so that every path carries weight.
            for p in g.parameters():
                p.mul_(2.0)
        weights = {k: v.detach().clone() for k, v in g.state_dict().items()}
        latents = torch.randn(2, sum(config["latents"]))
        size, channels = config["image_size"], config["image_channels"]
        images = torch.rand(2, channels, size, size) * 2 - 1
        g, x = g.double(), images.double()
        case = dict(latents=latents, images=images)
        for form in ["noncentred"] if g.ladder else ["noncentred", "centred"]:
            e = latents.double().requires_grad_()
            generated, prior = g(e, centred=form == "centred")
            energy = prior + (x - generated).square().flatten(1).sum(1) / (2 * SIGMA ** 2)
            weights_now = dict(g.named_parameters())
            found = torch.autograd.grad(energy.sum(), [e, *weights_now.values()], allow_unused=True)
            gradient = found[0]
            if form == "noncentred":
                case |= {f"weights.{k}": v for k, v in zip(weights_now, found[1:])}
            case[f"{form}.generated"] = generated.detach()
            case[f"{form}.energy"] = energy.detach()
            case[f"{form}.gradient"] = gradient
        save_file(weights, HERE / f"{name}.safetensors", {"config": json.dumps(config)})
        # The expected numbers are rounded to float32 at the very end; the test allows 1e-4.
        case = {k: v.float().contiguous() for k, v in case.items()}
        save_file(case, HERE / f"{name}_case.safetensors", {"sigma": str(SIGMA)})


if __name__ == "__main__":
    main()
