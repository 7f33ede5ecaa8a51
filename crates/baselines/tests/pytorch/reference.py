"""Makes the float64 reference numbers of tests/pytorch.rs: encoders, inverse autoregressive flows and
the ladder's top-down pass, on the small generators of ../../../model/tests/pytorch/reference.py.

    pip install torch safetensors numpy
    python reference.py            # writes the .safetensors files beside this script

Weights, images and noise are rounded to float32 first, so that both sides start from the same numbers;
everything after that is float64.
"""
import importlib.util
import json
import math
import pathlib

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
MODEL = HERE.parents[2] / "model/tests/pytorch/reference.py"
spec = importlib.util.spec_from_file_location("model_reference", MODEL)
model = importlib.util.module_from_spec(spec)
spec.loader.exec_module(model)

SIGMA = 0.3
BASE = dict(features=4, seed_channels=2, head_width={"fixed": 3}, refine_blocks=0,
            scale="log-variance", parameterisation="non-centred")
# Weights whose gradients of the mean loss are kept.
LEARNED = {
    "vae": ["stem.1.conv.weight", "levels.0.squeeze.conv.bias"],
    "ladder_vae": ["stem.0.conv.weight", "levels.0.block.conv1.conv.weight",
                   "levels.2.block.conv2.norm.weight"],
    "vae_iaf": ["flow.steps.0.context.bias", "flow.steps.1.layers.1.weight"],
}
CASES = {
    "vae": BASE | dict(latents=[5], image_size=64, image_channels=3, refine_blocks=1),
    "ladder_vae": BASE | dict(latents=[3, 4, 5], image_size=28, image_channels=1),
    "vae_iaf": BASE | dict(latents=[5], image_size=28, image_channels=1),
}
STEPS, DEPTH, WIDTH = 3, 2, 7


class ConvNorm(nn.Module):
    def __init__(self, a, b, kernel, stride, padding, norm):
        super().__init__()
        self.conv = nn.Conv2d(a, b, kernel, stride, padding, bias=not norm)
        self.norm = nn.BatchNorm2d(b) if norm else nn.Identity()

    def forward(self, x):
        return F.gelu(self.norm(self.conv(x)))


class Residual(nn.Module):
    def __init__(self, n_f, norm):
        super().__init__()
        self.conv1 = ConvNorm(n_f, n_f, 5, 1, 2, norm)
        self.conv2 = ConvNorm(n_f, n_f, 3, 1, 1, norm)

    def forward(self, h):
        return self.conv2(self.conv1(h)) + h


class Level(nn.Module):
    def __init__(self, c, size, layer, norm):
        super().__init__()
        d, n_f, channels, padding = c["latents"][layer], c["features"], c["seed_channels"], 2
        if layer > 0:
            channels, padding, size = c["head_width"]["fixed"], 0, size - 4
        self.block = Residual(n_f, norm)
        self.squeeze = ConvNorm(n_f, channels, 5, 1, padding, norm)
        self.moments = nn.Linear(channels * size * size, 2 * d)

    def gaussian(self, seed):
        mean, v = self.moments(seed).chunk(2, dim=1)
        return mean, torch.exp(v.clamp(-10, 10) / 2)


class Encoder(nn.Module):
    def __init__(self, c, norm):
        super().__init__()
        n_f, size = c["features"], 14 if c["image_size"] == 28 else 16
        widths = [c["image_channels"]] + [n_f] * {28: 1, 32: 1, 64: 2}[c["image_size"]]
        self.stem = nn.ModuleList(
            ConvNorm(a, b, 4, 2, 1, norm) for a, b in zip(widths, widths[1:]))
        self.refine = nn.ModuleList(Residual(n_f, norm) for _ in range(c["refine_blocks"]))
        self.levels = nn.ModuleList(Level(c, size, layer, norm) for layer in range(len(c["latents"])))

    def seeds(self, h):
        for layer in [*self.stem, *self.refine]:
            h = layer(h)
        seeds = []
        for level in reversed(self.levels):
            h = level.block(h)
            seeds.insert(0, level.squeeze(h).flatten(1))
        return seeds

    def forward(self, x):
        return [level.gaussian(seed) for level, seed in zip(self.levels, self.seeds(x))]


class Made(nn.Module):
    def __init__(self, d, reversed_order):
        super().__init__()
        numbers = torch.arange(1, d + 1)
        if reversed_order:
            numbers = numbers.flip(0)
        degrees = torch.tensor([k * d // WIDTH for k in range(WIDTH)])
        sizes = [numbers] + [degrees] * DEPTH
        self.masks = [(b[:, None] >= a[None, :]).double() for a, b in zip(sizes, sizes[1:])]
        self.masks.append((torch.cat([numbers, numbers])[:, None] > degrees[None, :]).double())
        self.layers = nn.ModuleList(
            nn.Linear(m.shape[1], m.shape[0]) for m in self.masks)
        self.context = nn.Linear(WIDTH, WIDTH)

    def forward(self, z, context):
        for i, (layer, mask) in enumerate(zip(self.layers, self.masks)):
            z = F.linear(z, layer.weight * mask, layer.bias)
            if i == 0:
                z = z + self.context(context)
            if i + 1 < len(self.layers):
                z = F.gelu(z)
        return z.chunk(2, dim=1)


class Flow(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.steps = nn.ModuleList(Made(d, t % 2 == 1) for t in range(STEPS))


class FlowEncoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.encoder = Encoder(c, norm=False)
        size = 14 if c["image_size"] == 28 else 16
        self.context = nn.Linear(c["seed_channels"] * size * size, WIDTH)
        self.flow = Flow(c["latents"][0])


def normal(mean, scale):
    return torch.distributions.Normal(mean, scale)


def descend(g, seen, noise):
    """Images and divergence of a ladder's posterior, by torch.distributions."""
    h, divergence, start = None, 0, 0
    for i, (mean, scale) in enumerate(seen):
        e = noise[:, start:start + mean.shape[1]]
        start += mean.shape[1]
        if i == 0:
            prior, posterior = normal(0.0 * mean, 1 + 0.0 * scale), normal(mean, scale)
        else:
            prior = normal(*g.stochastic[i - 1](h))
            a, b = scale ** -2, prior.scale ** -2
            posterior = normal((mean * a + prior.mean * b) / (a + b), (a + b) ** -0.5)
        divergence = divergence + torch.distributions.kl_divergence(posterior, prior).sum(1)
        below = g.blocks[i](posterior.mean + posterior.scale * e)
        h = below if h is None else below + h
    return image(g, h), divergence


def image(g, h):
    for block in g.refine:
        h = block.residual(h)
    for j, layer in enumerate(g.output):
        h = layer(h)
        if j + 1 < len(g.output):
            h = F.gelu(h)
    return torch.tanh(h)


def flow_posterior(g, net, x, noise):
    seed, = net.encoder.seeds(x)
    start = normal(*net.encoder.levels[0].gaussian(seed))
    context = F.gelu(net.context(seed))
    z = start.mean + start.scale * noise
    log_q = start.log_prob(z).sum(1)
    for made in net.flow.steps:
        m, s = made(z, context)
        gate = torch.sigmoid(s + 2)
        z = gate * z + (1 - gate) * m
        log_q = log_q - torch.log(gate).sum(1)
    return image(g, g.blocks[0](z)), log_q - normal(0.0, 1.0).log_prob(z).sum(1)


def save(name, tensors, metadata):
    tensors = {k: v.detach().float().contiguous() for k, v in tensors.items()
               if not k.endswith("num_batches_tracked")}
    save_file(tensors, HERE / f"{name}.safetensors", metadata)


def main():
    for name, config in CASES.items():
        torch.manual_seed(1)
        g = model.Generator(config)
        net = FlowEncoder(config) if name == "vae_iaf" else Encoder(config, norm=name == "ladder_vae")
        with torch.no_grad():
            # Larger than PyTorch's starting weights, so that every path carries weight.
            for p in [*g.parameters(), *net.parameters()]:
                p.mul_(2.0)
            for key, buffer in net.named_buffers():
                if key.endswith("running_mean"):
                    buffer.normal_(std=0.3)
                elif key.endswith("running_var"):
                    buffer.uniform_(0.5, 2.0)
        save(f"{name}_generator", g.state_dict(), {"config": json.dumps(config)})
        save(f"{name}_network", net.state_dict(), None)
        size, channels = config["image_size"], config["image_channels"]
        images = torch.rand(3, channels, size, size) * 2 - 1
        noise = torch.randn(3, sum(config["latents"]))
        g, net, x, e = g.double(), net.double(), images.double(), noise.double()
        case = dict(images=images, noise=noise)
        for mode in ["running", "batch"] if name == "ladder_vae" else ["running"]:
            net.train(mode == "batch")
            if name == "vae_iaf":
                generated, divergence = flow_posterior(g, net, x, e)
            else:
                generated, divergence = descend(g, net(x), e)
            misfit = (x - generated).square().flatten(1).sum(1) / (2 * SIGMA ** 2)
            constant = x[0].numel() / 2 * math.log(2 * math.pi * SIGMA ** 2)
            case |= {f"{mode}.generated": generated, f"{mode}.divergence": divergence,
                     f"{mode}.bound": -misfit - divergence - constant}
        loss = (misfit + divergence).mean()
        weights = dict(net.named_parameters()) | {f"generator.{k}": v for k, v in g.named_parameters()}
        names = LEARNED[name] + ["generator.blocks.0.conv1.weight"]
        for key, gradient in zip(names, torch.autograd.grad(loss, [weights[k] for k in names])):
            # Linear weights as Burn has them, [in, out].
            case[f"gradient.{key}"] = gradient.T if "layers" in key else gradient
        if name == "ladder_vae":
            case |= {k: v for k, v in net.state_dict().items() if k.endswith("running_mean")}
        save(f"{name}_case", case, None)


if __name__ == "__main__":
    main()
