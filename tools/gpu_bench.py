"""Times shortrun and PyTorch side by side, in one run on one machine, and writes
benches/results/DEVICE.json and a table in Markdown.

    cargo build --release --features cuda
    python3 tools/gpu_bench.py --shortrun target/release/shortrun --backend cuda

Chain (K Langevin steps), learning step (gradient of the weights and Adam) and whole iteration,
medians; peak memory; the exact step-size objective. Without a CUDA device PyTorch runs in eager
float32 only, and `--backend flex` times the CPU: give small --batches then.
"""
import argparse
import copy
import json
import pathlib
import platform
import subprocess
import sys
import threading
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

SIGMA, ETA = 0.15, 0.05
# Latent sizes, channels of the heads, refining blocks.
PRESETS = {
    "released": ([64, 64, 64, 96, 128], [64, 64, 96, 128], 1),
    "table4": ([32, 64, 128], [64, 64], 0),
    "l1": ([128], [], 0),
}
MODES = ["eager", "tf32", "graph autocast", "graph bf16", "compile graph bf16"]
CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(64, 64, 5, padding=2)
        self.conv2 = nn.Conv2d(64, 64, 3, padding=1)

    def forward(self, h):
        return F.gelu(self.conv2(F.gelu(self.conv1(h)))) + h


class Layer(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.linear = nn.Linear(d, 4 * 256)
        self.deconv = nn.ConvTranspose2d(4, 64, 5, padding=2, bias=False)
        self.block = Residual()

    def forward(self, z):
        h = F.gelu(self.linear(z)).view(-1, 4, 16, 16)
        return self.block(F.gelu(self.deconv(h)))


class Heads(nn.Module):
    def __init__(self, d, channels):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(64, channels, 5) for _ in range(2))
        self.linears = nn.ModuleList(nn.Linear(channels * 144, d) for _ in range(2))

    def forward(self, h, e):
        mean, v = (linear(F.gelu(conv(h)).flatten(1))
                   for conv, linear in zip(self.convs, self.linears))
        return mean + torch.exp(F.softplus(v).clamp(0, 10) / 2) * e


class Generator(nn.Module):
    def __init__(self, preset):
        super().__init__()
        dims, channels, refine = PRESETS[preset]
        self.dims = dims
        self.layers = nn.ModuleList(Layer(d) for d in dims)
        self.heads = nn.ModuleList(Heads(d, c) for d, c in zip(dims[1:], channels))
        self.refine = nn.Sequential(*(Residual() for _ in range(refine)))
        self.output = nn.ConvTranspose2d(64, 3, 4, 2, 1)

    def forward(self, latents):
        h = self.layers[0](latents[0])
        for layer, heads, e in zip(self.layers[1:], self.heads, latents[1:]):
            h = layer(heads(h, e)) + h
        return torch.tanh(self.output(self.refine(h)))


def sync():
    if CUDA:
        torch.cuda.synchronize()


def flop_per_step(preset):
    """Of one image: forward, and as much again for the gradient in the latents."""
    dims, channels, refine = PRESETS[preset]
    block = (25 + 9) * 64 * 64 * 256
    forward = sum(d * 1024 + 4 * 64 * 25 * 256 + block for d in dims) + refine * block
    forward += sum(2 * (64 * c * 25 * 144 + c * 144 * d) for d, c in zip(dims[1:], channels))
    return 4 * (forward + 64 * 3 * 4 * 1024)


class Peer:
    """The generator trained by short-run inference, as a PyTorch user would write it."""

    def __init__(self, preset, batch, steps, mode):
        self.mode, self.steps = mode, steps
        tf32 = mode != "eager"
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        torch.backends.cudnn.benchmark = True
        torch.manual_seed(0)
        layout = torch.channels_last if "graph" in mode else torch.contiguous_format
        self.g = Generator(preset).to(DEVICE).to(memory_format=layout)
        self.x = torch.rand(batch, 3, 32, 32, device=DEVICE) * 2 - 1
        self.params = list(self.g.parameters())
        self.adam = torch.optim.Adam(self.params, 1e-4, betas=(0.5, 0.999), fused=CUDA)
        self.amp = lambda: torch.autocast(DEVICE, torch.bfloat16, enabled="autocast" in mode,
                                          cache_enabled=False)
        # The chain runs on a bf16 copy of the weights, made anew for every iteration.
        self.fast = self.g
        if "bf16" in mode:
            self.fast = copy.deepcopy(self.g).to(torch.bfloat16).requires_grad_(False)
        self.start = [torch.randn(batch, d, device=DEVICE) for d in self.g.dims]
        self.noise = [torch.randn(steps, batch, d, device=DEVICE) for d in self.g.dims]
        self.step = torch.compile(self.by_func) if "compile" in mode else self.by_grad
        self.graph = None
        if "graph" in mode:
            self.capture()

    def energy(self, z):
        with self.amp():
            kind = self.fast.output.weight.dtype
            made = self.fast([t.to(kind) for t in z])
        return ((made.float() - self.x) ** 2).sum() / (2 * SIGMA ** 2)

    def moved(self, z, gradient, noise):
        return [t - ETA ** 2 / 2 * (d + t) + ETA * n for t, d, n in zip(z, gradient, noise)]

    def by_func(self, z, noise):
        return self.moved(z, torch.func.grad(self.energy)(z), noise)

    def by_grad(self, z, noise):
        z = [t.detach().requires_grad_() for t in z]
        gradient = torch.autograd.grad(self.energy(z), z)
        return [t.detach() for t in self.moved(z, gradient, noise)]

    def freeze(self, frozen):
        for p in self.params:
            p.requires_grad_(not frozen)

    def run(self):
        z = self.start
        for k in range(self.steps):
            z = self.step(z, [n[k] for n in self.noise])
        return z

    def capture(self):
        self.freeze(True)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self.run()
            self.run()
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.ends = self.run()
        self.freeze(False)

    def chain(self):
        self.freeze(True)
        if self.fast is not self.g:
            for fast, p in zip(self.fast.parameters(), self.params):
                fast.data.copy_(p.data)
        for t in self.start + self.noise:
            t.normal_()
        if self.graph is None:
            z = self.run()
        else:
            self.graph.replay()
            z = [t.clone() for t in self.ends]
        self.freeze(False)
        return z

    def learn(self, z):
        with self.amp():
            made = self.g(z)
        loss = ((made.float() - self.x) ** 2).sum() / (2 * SIGMA ** 2 * len(self.x))
        self.adam.zero_grad(set_to_none=True)
        loss.backward()
        self.adam.step()
        return loss.item()

    def times(self, repeat):
        rows = []
        for _ in range(repeat + 2):
            sync()
            begun = time.perf_counter()
            z = self.chain()
            sync()
            between = time.perf_counter()
            self.learn(z)
            sync()
            ended = time.perf_counter()
            rows.append((between - begun, ended - between, ended - begun))
        columns = [sorted(column)[repeat // 2] * 1e3 for column in zip(*rows[2:])]
        return dict(zip(["chain", "learn", "iteration"], columns))


def torch_times(preset, batch, steps, mode, repeat):
    if CUDA:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        found = Peer(preset, batch, steps, mode).times(repeat)
    except Exception as error:  # One mode that fails does not stop the others.
        return {"failed": str(error).splitlines()[0]}
    if CUDA:
        found["peak_gib"] = torch.cuda.max_memory_reserved() / 2 ** 30
    return found


def torch_objective(preset, images, steps, tf32=True):
    """Seconds for K Hessians an image, by vmap of jvp of grad, and their determinants in float64."""
    from torch.func import grad, jvp, vmap
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    torch.manual_seed(0)
    g = Generator(preset).to(DEVICE).requires_grad_(False)
    d, s = sum(g.dims), ETA ** 2 / 2
    x = torch.rand(images, 3, 32, 32, device=DEVICE) * 2 - 1
    one = torch.eye(d, device=DEVICE)

    def energy(z, image):
        made = g(list(torch.split(z[None], g.dims, 1)))[0]
        return (z * z).sum() / 2 + ((image - made) ** 2).sum() / (2 * SIGMA ** 2)

    gradient = grad(energy)

    def hessian(z, image):
        product = lambda v: jvp(lambda q: gradient(q, image), (z,), (v,))[1]
        return vmap(product, chunk_size=224)(one)

    def run():
        z = torch.randn(images, d, device=DEVICE)
        logs = torch.zeros(images, dtype=torch.float64, device=DEVICE)
        for _ in range(steps):
            for i in range(images):
                factor = one.double() - s * hessian(z[i], x[i]).double()
                logs[i] += torch.linalg.slogdet(factor)[1]
            z = z - s * vmap(gradient)(z, x) + ETA * torch.randn_like(z)
        return logs.sum().item()

    times = []
    for _ in range(2):
        sync()
        begun = time.perf_counter()
        run()
        times.append(time.perf_counter() - begun)
    return times[1]


class Memory(threading.Thread):
    """The most memory in use on the device while it runs, less that before."""

    def __init__(self):
        super().__init__(daemon=True)
        self.before = self.most = self.now()
        self.done = False

    @staticmethod
    def now():
        if not CUDA:
            return 0
        query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        return int(subprocess.run(query, capture_output=True, text=True).stdout.split()[0])

    def run(self):
        while not self.done:
            self.most = max(self.most, self.now())
            time.sleep(0.05)

    def gib(self):
        self.done = True
        self.join()
        return (self.most - self.before) / 1024


def shortrun_times(args, preset, batches, steps, objective=0):
    command = [args.shortrun, "bench", "--json", "--backend", args.backend, "--preset", preset,
               "--batch", ",".join(map(str, batches)), "--steps", ",".join(map(str, steps)),
               "--repeat", str(args.repeat), "--objective", str(objective)]
    memory = Memory()
    memory.start()
    done = subprocess.run(command, capture_output=True, text=True)
    peak = memory.gib()
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return json.loads(done.stdout) | {"peak_gib": peak}


def said(*command):
    """What a command prints; None if it cannot be run."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def driver():
    return said("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")


def commit():
    """Of the working folder: build shortrun from it."""
    return said("git", "rev-parse", "--short", "HEAD")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shortrun", default="target/release/shortrun")
    parser.add_argument("--backend", default="cuda" if CUDA else "flex")
    parser.add_argument("--batches", default="100,32,132,400,1024")
    parser.add_argument("--presets", default="released,table4,l1")
    parser.add_argument("--steps", default="5,15,50", help="further K, with the first batch")
    parser.add_argument("--modes", default=",".join(MODES if CUDA else MODES[:1]))
    parser.add_argument("--slow-batches", default="100,400",
                        help="batches of all modes (eager: the first batch alone); the others are timed "
                             "as one graph in bf16 only")
    parser.add_argument("--repeat", type=int, default=11)
    parser.add_argument("--objective", default="table4:8,released:2")
    parser.add_argument("--seconds", type=float, default=1e9, help="PyTorch starts nothing after")
    parser.add_argument("--out", default=None)
    args = parser.parse_args()
    begun = time.time()
    batches = [int(b) for b in args.batches.split(",")]
    slow = [int(b) for b in args.slow_batches.split(",")]
    presets = args.presets.split(",")
    device = torch.cuda.get_device_name(0) if CUDA else platform.processor() or platform.machine()
    out = args.out or pathlib.Path("benches/results") / f"{device.replace(' ', '-')}.json"
    result = {"device": device, "driver": driver(), "cuda": torch.version.cuda,
              "torch": torch.__version__, "date": time.strftime("%Y-%m-%d"), "commit": commit(),
              "command": " ".join(["python3", *sys.argv]),
              "shortrun": [], "pytorch": [], "objective": []}

    def keep():
        pathlib.Path(out).parent.mkdir(parents=True, exist_ok=True)
        pathlib.Path(out).write_text(json.dumps(result, indent=1) + "\n")

    def ours(preset, batches, steps):
        for batch in batches:
            found = shortrun_times(args, preset, [batch], steps)
            for row in found["learning"]:
                tera = flop_per_step(preset) * row["steps"] * batch / row["chain"] / 1e9
                row |= {"preset": preset, "tflops": tera, "peak_gib": found["peak_gib"]}
                result["shortrun"].append(row)
                print("shortrun", row, flush=True)
            keep()

    def theirs(preset, batch, steps, mode):
        if time.time() - begun > args.seconds:
            return
        row = {"preset": preset, "batch": batch, "steps": steps, "mode": mode}
        row |= torch_times(preset, batch, steps, mode, args.repeat)
        if "chain" in row:
            row["tflops"] = flop_per_step(preset) * steps * batch / row["chain"] / 1e9
        result["pytorch"].append(row)
        print("pytorch", row, flush=True)
        keep()

    modes = args.modes.split(",")
    first, others = presets[0], presets[1:]
    ours(first, batches, [25])
    for preset in others:
        ours(preset, batches[:1], [25])
    ours(first, batches[:1], [int(k) for k in args.steps.split(",") if k])
    for batch in batches:
        for mode in modes:
            if mode == "graph bf16" or batch in slow and (mode != "eager" or batch == batches[0]):
                theirs(first, batch, 25, mode)
    for preset in others:
        for mode in modes:
            theirs(preset, batches[0], 25, mode)
    for item in filter(None, args.objective.split(",")):
        preset, images = item.split(":")
        row = {"preset": preset, "images": int(images), "steps": 25,
               "pytorch_seconds": torch_objective(preset, int(images), 25)}
        found = shortrun_times(args, preset, [8], [25], int(images))
        row |= {"shortrun": found["objective"], "peak_gib": found["peak_gib"]}
        result["objective"].append(row)
        print("objective", row, flush=True)
        keep()
    print(table(result, first))
    print(f"written: {out}")


def table(result, preset):
    """The table of the README."""
    def best(batch, what):
        rows = [r for r in result["pytorch"]
                if (r["preset"], r["batch"], r["steps"]) == (preset, batch, 25) and what in r]
        return min(rows, key=lambda r: r[what], default=None)

    lines = ["| batch | chain, ms | PyTorch's best | learning step, ms | PyTorch's best | iteration, "
             "ms | TFLOP/s | memory, GiB |", "|---|---|---|---|---|---|---|---|"]
    for row in result["shortrun"]:
        if (row["preset"], row["steps"]) != (preset, 25):
            continue
        chain, learn = best(row["batch"], "chain"), best(row["batch"], "learn")
        say = lambda r, what: f"{r[what]:.1f} ({r['mode']})" if r else "-"
        lines.append(f"| {row['batch']} | {row['chain']:.1f} | {say(chain, 'chain')} | "
                     f"{row['learn']:.1f} | {say(learn, 'learn')} | {row['iteration']:.1f} | "
                     f"{row['tflops']:.0f} | {row['peak_gib']:.1f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
