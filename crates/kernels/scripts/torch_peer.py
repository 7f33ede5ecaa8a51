"""Times the operations of `benches/conv.rs` in PyTorch on the CPU.

    python3 torch_peer.py 2        # threads
"""

import sys
import time

import torch
import torch.nn.functional as F

CASES = [
    (8, 64, 64, 16, 5, 2), (8, 64, 64, 16, 3, 1), (8, 64, 128, 16, 5, 0), (8, 64, 256, 16, 5, 0),
    (8, 128, 64, 12, 5, 4), (8, 256, 64, 12, 5, 4), (8, 4, 64, 16, 5, 2), (8, 64, 4, 16, 5, 2),
    (8, 64, 12, 16, 3, 1), (1, 64, 64, 16, 5, 2), (2, 64, 64, 16, 5, 2), (100, 64, 64, 16, 5, 2),
    (200, 64, 64, 16, 5, 2), (32, 16, 16, 16, 5, 2), (32, 24, 24, 16, 3, 1), (8, 64, 64, 14, 5, 2),
    (8, 64, 64, 28, 3, 1), (8, 64, 64, 32, 5, 2),
]


def best(f, repeats=20):
    for _ in range(3):
        f()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        f()
        times.append((time.perf_counter() - start) * 1e3)
    times.sort()
    return times[0], times[len(times) // 2]


def main():
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
    for case in CASES:
        n, ci, co, size, k, p = case
        x, w, out = torch.randn(n, ci, size, size), torch.randn(co, ci, k, k), size + 2 * p - k + 1
        g = torch.randn(n, co, out, out)
        flop = 2 * n * ci * co * k * k * out * out
        back = lambda mask: torch.ops.aten.convolution_backward(
            g, x, w, [co], [1, 1], [p, p], [1, 1], False, [0, 0], 1, mask)
        with torch.no_grad():
            for name, f in (("forward", lambda: F.conv2d(x, w, padding=p)),
                            ("weight gradient", lambda: back([False, True, False]))):
                low, median = best(f)
                print(f"{case} {name}: {low:.3f} ms (median {median:.3f}), {flop / low / 1e6:.0f} GFLOP/s")


if __name__ == "__main__":
    main()
