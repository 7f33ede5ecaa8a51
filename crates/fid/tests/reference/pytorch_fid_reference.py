"""Reference numbers from the PyPI package pytorch-fid, with random weights in place of the trained ones.

pip install torch pytorch-fid

fixture DIR               the files beside this script: a network of a sixteenth of the channels
weights OUT.pth IMAGES    a full-size weights file, scaled so that activations of IMAGES stay alive
features WEIGHTS IMAGES OUT.npy [--threads N] [--batch-size N] [--device cuda]
                          features of IMAGES by pytorch-fid; prints seconds and peak memory
distance A.npy B.npy      pytorch-fid's distance of two arrays of features
stats FEATURES.npy OUT.npz  mean and covariance, as pytorch-fid saves them
compare A.npy B.npy       largest differences of two arrays of features

IMAGES is a .npy or .npy.gz array of bytes, [n, h, w, 3], with [:N] behind its name for the first N.
"""

import argparse
import gzip
import json
import resource
import time
from pathlib import Path

import numpy as np
import pytorch_fid.inception as fid
import torch
import torchvision.models.inception as tv
from pytorch_fid.fid_score import calculate_frechet_distance

NARROWER = 16


def images(spec):
    name, _, limit = spec.partition("[:")
    opener = gzip.open if name.endswith(".gz") else open
    with opener(name, "rb") as file:
        array = np.load(file)
    if limit:
        array = array[: int(limit.rstrip("]"))]
    return torch.from_numpy(array).permute(0, 3, 1, 2)


def network(state, narrower=1):
    """pytorch-fid's own network; it asks for its weights by this function."""
    full = tv.BasicConv2d

    class Narrow(full):
        def __init__(self, inputs, outputs, **more):
            inputs = inputs if inputs == 3 else inputs // narrower
            super().__init__(inputs, outputs // narrower, **more)

    tv.BasicConv2d = Narrow
    asked = fid.load_state_dict_from_url
    # What is loaded here is thrown away again where `state` is None.
    fid.load_state_dict_from_url = lambda *_, **__: state or own_state()
    try:
        return fid.InceptionV3([3]).eval()
    finally:
        fid.load_state_dict_from_url, tv.BasicConv2d = asked, full


def own_state():
    return fid._inception_v3(num_classes=1008, aux_logits=False, weights=None).state_dict()


def names(model):
    """The modules of the network by their names in the weights file."""
    plain = fid._inception_v3(num_classes=1008, aux_logits=False, weights=None)
    order = [name for name, _ in plain.named_children()]
    order = [name for name in order if name.startswith(("Conv2d", "Mixed"))]
    parts = [part for block in model.blocks for part in block if len(list(part.parameters()))]
    assert len(order) == len(parts)
    return dict(zip(order, parts))


def randomise(model, batch, seed):
    """Normal weights; each normalisation layer takes its statistics from what arrives on `batch`."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda shape: torch.randn(shape, generator=generator, dtype=torch.float64)
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            fan_in = module.weight[0].numel()
            module.weight.data = (draw(module.weight.shape) * (2 / fan_in) ** 0.5).to(module.weight)
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data = (1 + 0.2 * draw(module.weight.shape)).to(module.weight)
            module.bias.data = (0.2 * draw(module.bias.shape)).to(module.bias)
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(batch)
    model.eval()


def state_dict(model):
    state = {}
    for name, part in names(model).items():
        state.update({f"{name}.{key}": value for key, value in part.state_dict().items()})
    generator = torch.Generator().manual_seed(1)
    features = model.blocks[-1][-2].branch1x1.conv.in_channels
    state["fc.weight"] = torch.randn((8, features), generator=generator)
    state["fc.bias"] = torch.zeros(8)
    return state


def fixture(folder):
    # Ramps of twelve kinds; the features written are those of the first two.
    image, channel, y, x = torch.meshgrid(*map(torch.arange, (12, 3, 20, 24)), indexing="ij")
    pixels = (x * (2 + 3 * image) + y * (4 + 2 * channel) + 50 * image) % 256
    batch = pixels.double() / 255
    model = network(None, NARROWER).double()
    # All convolutions look into one storage, so that the file stays small.
    pool = torch.randn(8192, generator=torch.Generator().manual_seed(3)).double()
    randomise(model, batch, 2)
    convs = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    for place, conv in enumerate(convs):
        count = conv.weight.numel()
        start = place * 61 % (len(pool) - count)
        conv.weight.data = pool[start : start + count].view(conv.weight.shape)
    with torch.no_grad():
        model.train()(batch)
        # The numbers as float32 holds them, then in float64.
        model.float().double().eval()
        reference = model(batch[:2])[0].flatten(1)
        single = model.float()(batch[:2].float())[0].flatten(1)
        print(f"float32 is off by up to {(single - reference).abs().max():.1e}")
        model.double()
    state = state_dict(model)
    pool = pool.float()
    small = [k for k, v in state.items() if v.dim() == 1]
    shared = torch.cat([state[k].float() for k in small])
    at = 0
    for key in small:
        count = state[key].numel()
        state[key] = shared[at : at + count]
        at += count
    place = 0
    for key in state:
        if key.endswith("conv.weight"):
            shape, count = state[key].shape, state[key].numel()
            start = place * 61 % (len(pool) - count)
            assert torch.equal(pool[start : start + count], state[key].float().flatten()), key
            state[key] = pool[start : start + count].view(shape)
            place += 1
        state[key] = state[key] if state[key].dim() == 0 else state[key].float()
    torch.save(state, folder / "narrow.pth")
    torch.save(state, folder / "narrow_legacy.pth", _use_new_zipfile_serialization=False)
    rows = [[float(f"{value:.10g}") for value in row] for row in reference]
    (folder / "narrow_features.json").write_text(json.dumps(rows) + "\n")


def weights(out, spec):
    batch = images(spec).float() / 255
    model = network(None)
    randomise(model, batch, 5)
    state = state_dict(model)
    # The standard file's classifier has 1008 classes.
    state["fc.weight"], state["fc.bias"] = torch.zeros(1008, 2048), torch.zeros(1008)
    torch.save(state, out)


def features(path, spec, out, threads, batch_size, device):
    torch.set_num_threads(threads)
    model = network(torch.load(path, map_location="cpu")).to(device)
    data = images(spec)
    begun = time.time()
    rows = []
    with torch.no_grad():
        for batch in data.split(batch_size):
            rows.append(model(batch.to(device).float() / 255)[0].flatten(1).cpu().numpy())
    rows = np.concatenate(rows)
    seconds = time.time() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if device == "cuda":
        print(f"peak of tensors on the GPU: {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB")
    np.save(out, rows)
    print(
        f"{len(rows)} images, {device}, {threads} threads, batches of {batch_size}: {seconds:.1f} s, "
        f"{1000 * seconds / len(rows):.1f} s per 1,000; peak memory {peak:.0f} MiB"
    )


def statistics(path):
    rows = np.load(path).astype(np.float64)
    return rows.mean(axis=0), np.cov(rows, rowvar=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("command")
    parser.add_argument("arguments", nargs="*")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    arguments = given.arguments
    match given.command:
        case "fixture":
            fixture(Path(arguments[0]))
        case "weights":
            weights(*arguments)
        case "features":
            features(*arguments, given.threads, given.batch_size, given.device)
        case "distance":
            begun = time.time()
            distance = calculate_frechet_distance(*statistics(arguments[0]), *statistics(arguments[1]))
            print(f"{distance:.10g} in {time.time() - begun:.1f} s")
        case "stats":
            mu, sigma = statistics(arguments[0])
            np.savez_compressed(arguments[1], mu=mu, sigma=sigma)
        case "compare":
            ours, theirs = (np.load(path).astype(np.float64) for path in arguments)
            off = np.abs(ours - theirs)
            print(
                f"{ours.shape}: largest difference {off.max():.3e}, relative to the largest feature "
                f"{off.max() / np.abs(theirs).max():.3e}; root mean square, relative "
                f"{np.sqrt((off**2).mean() / (theirs**2).mean()):.3e}"
            )
        case unknown:
            parser.error(f"no command {unknown}")


if __name__ == "__main__":
    main()
