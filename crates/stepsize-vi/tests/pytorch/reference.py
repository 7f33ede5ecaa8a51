"""Makes the float64 reference numbers of the step-size objectives: reference.json beside this script.

    pip install torch numpy
    python reference.py            # checks everything it writes; seconds on a CPU

Made with Python 3.11, torch 2.15 and numpy 2.4.

The model is x = W2 tanh(W1 e + b1) + b2 + N(0, sigma^2 I) with e ~ N(0, I_d), for n images; the energy
U(e) = |e|^2/2 + |x - g(e)|^2/(2 sigma^2), its gradient g and its Hessian H. The chain, with S_k the diagonal
matrix of the step sizes of step k:

    e_{k+1} = e_k - S_k g(e_k) + sqrt(2 S_k) n_k,    k = 0, ..., K-1

Objectives, one for each image (the prior's (d/2) log(2 pi) cancels and appears nowhere):

    F     = -|e_0|^2/2 - sum_k log|det(I - S_k H(e_k))|   + U(e_K) + (D/2) log(2 pi sigma^2)
    F_aug = -|e_0|^2/2 + sum_k (|v_k|^2 - |n_k|^2)/2      + U(e_K) + (D/2) log(2 pi sigma^2)
    v_k   = sqrt(S_k/2) (g(e_k) + g(e_{k+1})) - n_k

Asserted before writing: the log-determinants against the whole Jacobian de_K/de_0; F_aug against the Gaussian
densities of its kernels; the gradients by autograd against central differences and against the backward sweep;
tr(W H) and H v against differences.

The numbers that the other side starts from are multiples of 1/1024, so they are the same in float32.

Keys of reference.json: n, d, hidden, observed (= D), steps (= K), sigma; w1 [hidden, d], b1, w2 [D, hidden], b2,
x [n, D], e0 [n, d], noise [K, n, d];
`at_start`: energy [n] and gradient [n, d] at e0, and for image 0 the hessian [d, d], vector [d],
hessian_product [d], weights [d, d] (symmetric) and trace_gradient [d];
`cases`, each with sizes (1, K or L drifts s), layers ([] unless there is one size for each layer),
sizes_by_dimension [K, d], positions [K + 1, n, d], log_prior [n] (-|e_0|^2/2), end_energy [n] (U(e_K)), and
`exact` and `augmented`: objective [n] and gradient, that of the mean over images in each of sizes;
in `exact` also log_det [K, n] and smallest_eigenvalue [K, n], the least |eigenvalue| of I - S^(1/2) H S^(1/2).
"""
import json
import math
import pathlib

import numpy
import torch

torch.set_default_dtype(torch.float64)
HERE = pathlib.Path(__file__).parent
D_LATENT, HIDDEN, D_IMAGE, N, K, SIGMA = 4, 6, 7, 3, 5, 0.4
LAYERS = [1, 3]
CONSTANT = (D_IMAGE / 2) * math.log(2 * math.pi * SIGMA ** 2)

# Sizes and layers. Some Hessians are indefinite; "overshooting" has negative eigenvalues of I - S H.
CASES = {
    "constant": ([0.01], []),
    "per_step": ([0.008, 0.012, 0.01, 0.006, 0.015], []),
    "per_layer": ([0.015, 0.008], LAYERS),
    "overshooting": ([0.04], []),
}


def rounded(values):
    """To multiples of 1/1024."""
    return (values * 1024).round() / 1024


torch.manual_seed(3)
W1 = rounded(torch.randn(HIDDEN, D_LATENT) * 0.5)
B1 = rounded(torch.randn(HIDDEN) * 0.3)
W2 = rounded(torch.randn(D_IMAGE, HIDDEN) * 0.6)
B2 = rounded(torch.randn(D_IMAGE) * 0.3)


def generate(e):
    return torch.tanh(e @ W1.T + B1) @ W2.T + B2


X = rounded(generate(torch.randn(N, D_LATENT)) + SIGMA * torch.randn(N, D_IMAGE))
E0 = rounded(torch.randn(N, D_LATENT))
NOISE = rounded(torch.randn(K, N, D_LATENT))
VECTOR = rounded(torch.randn(D_LATENT))
SYMMETRIC = rounded(torch.randn(D_LATENT, D_LATENT))
SYMMETRIC = rounded((SYMMETRIC + SYMMETRIC.T) / 2)


def energy(e):
    return e.square().sum(-1) / 2 + (X - generate(e)).square().sum(-1) / (2 * SIGMA ** 2)


def gradient(e):
    """Of each row, on the tape."""
    if not e.requires_grad:
        e = e.clone().requires_grad_()
    return torch.autograd.grad(energy(e).sum(), e, create_graph=True)[0]


def hessian(e):
    """[n, d, d], on the tape."""
    if not e.requires_grad:
        e = e.clone().requires_grad_()
    g = gradient(e)
    rows = [torch.autograd.grad(g[:, j].sum(), e, create_graph=True)[0] for j in range(D_LATENT)]
    return torch.stack(rows, 1)


def by_dimension(sizes, layers):
    """[K, d] from 1, K or L sizes."""
    if layers:
        row = torch.cat([sizes[i].expand(width) for i, width in enumerate(layers)])
        return row.expand(K, D_LATENT)
    return sizes.reshape(-1, 1).expand(K, D_LATENT)


def chain(e0, s):
    """Positions e_0, ..., e_K."""
    positions = [e0]
    for k in range(K):
        e = positions[-1]
        positions.append(e - s[k] * gradient(e) + (2 * s[k]).sqrt() * NOISE[k])
    return positions


def log_dets(positions, s):
    eye = torch.eye(D_LATENT)
    return torch.stack([
        torch.linalg.slogdet(eye - s[k][:, None] * hessian(positions[k])).logabsdet for k in range(K)])


def exact(positions, s):
    return (-positions[0].square().sum(1) / 2 - log_dets(positions, s).sum(0)
            + energy(positions[-1]) + CONSTANT)


def augmented(positions, s):
    g = [gradient(e) for e in positions]
    total = -positions[0].square().sum(1) / 2 + energy(positions[-1]) + CONSTANT
    for k in range(K):
        v = (s[k] / 2).sqrt() * (g[k] + g[k + 1]) - NOISE[k]
        total = total + (v.square() - NOISE[k].square()).sum(1) / 2
    return total


def augmented_by_densities(positions, s):
    """log q(e_0, ..., e_K) - log r(e_0, ..., e_K), every Gaussian written out."""
    two_pi_d = (D_LATENT / 2) * math.log(2 * math.pi)
    log_q = -positions[0].square().sum(1) / 2 - two_pi_d
    log_r = -energy(positions[-1]) - CONSTANT - two_pi_d

    def log_kernel(to, at, k):
        normal = torch.distributions.Normal(at - s[k] * gradient(at), (2 * s[k]).sqrt())
        return normal.log_prob(to).sum(1)

    for k in range(K):
        log_q = log_q + log_kernel(positions[k + 1], positions[k], k)
        log_r = log_r + log_kernel(positions[k], positions[k + 1], k)
    return log_q - log_r


def sweep(sizes, layers):
    """The gradient of the mean of F by one backward sweep, in [K, d] sizes, gathered into `sizes`."""
    s = by_dimension(sizes, layers).detach()
    positions = [e.detach() for e in chain(E0, s)]
    found = torch.zeros(K, N, D_LATENT)
    adjoint = gradient(positions[K]).detach()
    for k in reversed(range(K)):
        e = positions[k].clone().requires_grad_()
        h = hessian(e)
        inverse = torch.linalg.inv(torch.eye(D_LATENT) - s[k][:, None] * h.detach())
        found[k] = adjoint * (-gradient(e) + NOISE[k] / (2 * s[k]).sqrt()).detach()
        found[k] += (h.detach() @ inverse).diagonal(dim1=1, dim2=2)
        # tr((I - S H)^-1 S H), the first factor held fixed.
        weights = inverse * s[k]
        assert (weights - weights.transpose(1, 2)).abs().max() < 1e-12
        third = torch.autograd.grad((weights * h).sum(), e)[0]
        adjoint = adjoint - (h.detach() @ (s[k] * adjoint)[:, :, None]).squeeze(2) + third
    found = found.mean(1)
    if layers:
        return torch.stack([part.sum() for part in found.sum(0).split(layers)])
    return found.sum().reshape(1) if len(sizes) == 1 else found.sum(1)


WORST = {}


def close(what, found, expected, tolerance):
    error = ((found - expected).abs() / (1 + expected.abs())).max().item()
    assert error < tolerance, (what, error)
    WORST[what] = max(WORST.get(what, 0.0), error)


def gradient_in_sizes(name, objective, sizes, layers):
    """Of the mean over images, by autograd, checked against central differences."""
    def mean(sizes):
        s = by_dimension(sizes, layers)
        return objective(chain(E0, s), s).mean()

    leaf = sizes.clone().requires_grad_()
    found = torch.autograd.grad(mean(leaf), leaf)[0]
    for i in range(len(sizes)):
        h = 1e-4 * sizes[i]
        at = lambda m: mean(sizes + m * h * torch.eye(len(sizes))[i]).detach()
        difference = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * h)
        close(f"gradient of {name} / central differences", found[i], difference, 1e-6)
    return found


def case(sizes, layers):
    sizes = torch.tensor(sizes)
    s = by_dimension(sizes, layers)
    start = E0.clone().requires_grad_()
    positions = chain(start, s)
    # The whole Jacobian of each image, without the factorisation.
    rows = [torch.autograd.grad(positions[K][:, j].sum(), start, retain_graph=True)[0] for j in range(D_LATENT)]
    whole = torch.linalg.slogdet(torch.stack(rows, 1)).logabsdet
    log_det = log_dets(positions, s)
    close("sum of log-determinants / whole Jacobian", log_det.sum(0), whole, 1e-10)
    root = s.sqrt()
    eigenvalues = torch.stack([torch.linalg.eigvalsh(
        torch.eye(D_LATENT) - root[k][:, None] * hessian(positions[k]).detach() * root[k]) for k in range(K)])
    close("log-determinants / symmetric eigenvalues", eigenvalues.abs().log().sum(2), log_det.detach(), 1e-10)
    aug = augmented(positions, s)
    close("augmented bound / densities of its kernels", aug, augmented_by_densities(positions, s), 1e-10)
    exact_gradient = gradient_in_sizes("F", exact, sizes, layers)
    close("gradient of F / backward sweep", exact_gradient, sweep(sizes, layers), 1e-10)
    negative = int((eigenvalues < 0).sum())
    smallest = eigenvalues.abs().amin(2)
    print(f"sizes {sizes.tolist()}: {negative} eigenvalues below 0, {int((eigenvalues > 1).sum())} above 1, "
          f"the smallest {smallest.min():.3f}")
    return {
        "sizes": sizes, "layers": layers, "sizes_by_dimension": s,
        "positions": torch.stack(positions),
        "log_prior": -E0.square().sum(1) / 2,
        "end_energy": energy(positions[K]),
        "exact": {
            "objective": exact(positions, s), "gradient": exact_gradient,
            "log_det": log_det, "smallest_eigenvalue": smallest,
        },
        "augmented": {
            "objective": aug, "gradient": gradient_in_sizes("F_aug", augmented, sizes, layers),
        },
    }


def at_start():
    e = E0.clone().requires_grad_()
    h = hessian(e)[0]
    product = h @ VECTOR
    trace_gradient = torch.autograd.grad((SYMMETRIC * h).sum(), e, retain_graph=True)[0][0]
    t = 1e-4
    for i in range(D_LATENT):
        at = lambda m: (SYMMETRIC * hessian(E0 + m * t * torch.eye(D_LATENT)[i])[0]).sum()
        difference = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * t)
        close("gradient of tr(W H) / central differences", trace_gradient[i], difference, 1e-8)
    at = lambda m: gradient(E0 + m * t * VECTOR)[0]
    difference = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * t)
    close("H v / central differences", product, difference, 1e-8)
    return {
        "energy": energy(e), "gradient": gradient(e),
        "hessian": h, "vector": VECTOR, "hessian_product": product,
        "weights": SYMMETRIC, "trace_gradient": trace_gradient,
    }


def plain(value):
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return value.detach().tolist() if isinstance(value, torch.Tensor) else value


def text(value, indent=""):
    """JSON with one line for each array."""
    if not isinstance(value, dict):
        return json.dumps(value)
    inner = indent + " "
    lines = [f"{inner}{json.dumps(key)}: {text(one, inner)}" for key, one in value.items()]
    return "{\n" + ",\n".join(lines) + "\n" + indent + "}"


def main():
    reference = plain({
        "n": N, "d": D_LATENT, "hidden": HIDDEN, "observed": D_IMAGE, "steps": K, "sigma": SIGMA,
        "w1": W1, "b1": B1, "w2": W2, "b2": B2, "x": X, "e0": E0, "noise": NOISE,
        "at_start": at_start(),
        "cases": {name: case(*how) for name, how in CASES.items()},
    })
    (HERE / "reference.json").write_text(text(reference) + "\n")
    for what, error in WORST.items():
        print(f"{error:.1e}  {what}")


if __name__ == "__main__":
    print(f"torch {torch.__version__}, numpy {numpy.__version__}")
    main()
