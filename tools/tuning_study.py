#!/usr/bin/env python3
"""Whether tuning the step size while training helps: the same runs with a fixed step and with a tuned one.

    cargo build --release
    python3 tools/tuning_study.py target/release/shortrun OUT --data mnist --data-dir DIR [--seeds 3] [--steps 1000]

For every seed it trains with eta fixed and with eta tuned from there (the exact objective and its gradient, every T_s
iterations), then prints a Markdown table: the step size in the end, test error, and the exact objective at the run's own
step, an upper bound on -log p(x) in nats an image, on the same test images and noise. Python's standard library only.
"""

import argparse
import json
import pathlib
import statistics
import subprocess


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("out", type=pathlib.Path, help="folder for the runs; those already there are not trained again")
    parser.add_argument("--data", required=True)
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--every", type=int, default=50, help="T_s")
    parser.add_argument("--eta", type=float, default=0.05, help="fixed, and where tuning starts")
    parser.add_argument("--count", type=int, default=200, help="test images for the error")
    parser.add_argument("--objective-count", type=int, default=8, help="test images for the objective")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of every run")
    args = parser.parse_args()
    settings = [part for setting in args.set for part in ("--set", setting)]

    def call(*options):
        line = [args.program, *map(str, options), "--json"]
        return json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout)

    print("| step size | seed | eta at the end | test MSE | F, nats an image | training, s |")
    print("|---|---|---|---|---|---|")
    results = {}
    for seed in range(1, args.seeds + 1):
        for name, tuning in [("fixed", 0), ("tuned", args.every)]:
            run = args.out / f"{name}-{seed}"
            summary = run / "summary.json"
            if not summary.exists():
                call("train", "--data", args.data, "--data-dir", args.data_dir, "--run", run, "--seed", seed,
                     "--steps", args.steps, "--set", f"langevin.step_size.eta={args.eta}",
                     "--set", f"step_size.every={tuning}", *settings)
            seconds = json.loads(summary.read_text())["seconds"]
            # The same test images and noise for every run, whatever seed it was trained with.
            found = call("reconstruct", "--run", run, "--seed", 1, "--count", args.count)
            own = found["step_size"]["eta"][0]
            bound = call("step-size", "--run", run, "--seed", 1, "--count", args.objective_count, "--grid", own)["own_value"]
            results.setdefault(name, []).append((found["mse"], bound))
            print(f"| {name} | {seed} | {own:.4f} | {found['mse']:.4f} | {bound:.1f} | {seconds:.0f} |", flush=True)
    for what, place in [("test MSE", 0), ("F", 1)]:
        pairs = zip(results["tuned"], results["fixed"])
        gains = [fixed[place] - tuned[place] for tuned, fixed in pairs]
        spread = statistics.stdev(gains) if len(gains) > 1 else float("nan")
        print(f"\nTuning lowers {what} by {statistics.mean(gains):.4g} on average (spread over seeds {spread:.2g})")


if __name__ == "__main__":
    main()
