#!/usr/bin/env python3
"""How the step-size objectives and searches compare on a trained generator.

    cargo build --release
    python3 tools/step_size_study.py target/release/shortrun RUN [--count 8] [--seeds 5] [--quick]

Prints Markdown tables: the optimum by objective and search, the bias and spread of the estimators
against the exact objective, what one size for each step or layer gains, and the test error with
the run's own step and with the tuned one. Python's standard library only; exact objectives take a
while. Nothing is written to the run but the picture of `reconstruct`.
"""

import argparse
import json
import statistics
import subprocess


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("run")
    parser.add_argument("--count", type=int, default=8, help="images for each objective")
    parser.add_argument("--seeds", type=int, default=5, help="problems for bias and spread")
    parser.add_argument("--held-out", type=int, default=32, help="further images for sizes by step and layer")
    parser.add_argument("--quick", action="store_true", help="without per-step and per-layer sizes")
    parser.add_argument("data", nargs="*", help="further options, such as --data-dir=DIR")
    args, more = parser.parse_known_args()
    more += args.data

    def call(command, *options):
        line = [args.program, command, "--run", args.run, "--json", *more, *map(str, options)]
        return json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout)

    def step_size(*options, seed=1):
        return call("step-size", "--count", args.count, "--seed", seed, *options)

    print(f"`{args.run}`, {args.count} images\n")
    print("| objective | search | eta | s | objective there, nats | gradients an image | seconds |")
    print("|---|---|---|---|---|---|---|")
    best = {}
    for objective in ["exact", "lanczos", "augmented"]:
        for search in ["grid", "refine", "gradient"]:
            if (objective, search) == ("lanczos", "gradient"):
                continue
            found = step_size("--objective", objective, "--search", search)
            best[objective, search] = found
            eta, s = found["step_size"]["eta"][0], found["step_size"]["drift"][0]
            cost = found["gradient_evaluations"] / found["images"]
            print(
                f"| {objective} | {search} | {eta:.4f} | {s:.2e} | {found['value']:.1f} "
                f"| {cost:.0f} | {found['seconds']:.1f} |",
                flush=True,
            )

    own = best["exact", "grid"]["own_step_size"]["eta"][0]
    print(f"\nAt the run's own eta = {own:.4f}, over {args.seeds} seeds of starts, noise and probes:\n")
    print("| estimator | its bias against exact, nats | its spread | its own standard error |")
    print("|---|---|---|---|")
    at = ["--grid", own]
    exact = [step_size(*at, seed=seed)["value"] for seed in range(1, args.seeds + 1)]
    for name, options in [
        ("lanczos, m = 6, 4 probes", ["--lanczos-steps", 6, "--probes", 4]),
        ("lanczos, m = 12, 4 probes", ["--lanczos-steps", 12, "--probes", 4]),
        ("lanczos, m = 24, 4 probes", ["--lanczos-steps", 24, "--probes", 4]),
        ("lanczos, m = 12, 16 probes", ["--lanczos-steps", 12, "--probes", 16]),
        ("augmented", None),
    ]:
        objective = ["--objective", "lanczos", *options] if options else ["--objective", "augmented"]
        found = [step_size(*at, *objective, seed=seed) for seed in range(1, args.seeds + 1)]
        off = [one["value"] - value for one, value in zip(found, exact)]
        errors = [one["probe_error"] for one in found if one["probe_error"] is not None]
        error = f"{statistics.mean(errors):.1f}" if errors else "none"
        print(
            f"| {name} | {statistics.mean(off):.1f} | {statistics.stdev(off):.1f} | {error} |",
            flush=True,
        )

    if not args.quick:
        print(f"\nObjective in nats, and on {args.held_out} other images with other noise:\n")
        print("| sizes | search | searched on | others | etas |")
        print("|---|---|---|---|---|")
        named = [("constant", "refine"), ("layer", "refine"), ("layer", "gradient"), ("step", "gradient")]
        for per, search in named:
            found = step_size("--per", per, "--search", search, "--held-out", args.held_out)
            etas = ", ".join(f"{eta:.3f}" for eta in found["step_size"]["eta"])
            value, others = found["value"], found["held_out"]["value"]
            print(f"| {per} | {search} | {value:.1f} | {others:.1f} | {etas} |", flush=True)
        print(f"| the run's own | | {found['own_value']:.1f} | {found['held_out']['own_value']:.1f} | {own:.3f} |")

    print("\n| eta | test MSE | mean image |")
    print("|---|---|---|")
    tuned = best["exact", "refine"]["step_size"]["eta"][0]
    augmented = best["augmented", "refine"]["step_size"]["eta"][0]
    for eta in sorted({round(eta, 4) for eta in (own, tuned, augmented, 0.05, 0.1)}):
        found = call("reconstruct", "--step-size", f"eta={eta}", "--count", 200)
        mse = found["mse"]
        text = "diverged" if mse is None else f"{mse:.4f}"
        print(f"| {eta:.4f} | {text} | {found['mean_image_mse']:.4f} |", flush=True)


if __name__ == "__main__":
    main()
