//! What the generator is made of, in float64: convolutions, linear layers and their gradients.

use shortrun_kernels::Scale;

/// Maps `[channels][size][size]`.
pub(crate) type Map = Vec<f64>;

/// Weights and bias of a layer, each row by row.
pub(crate) struct Affine<'a> {
    pub(crate) weight: &'a [f64],
    pub(crate) bias: &'a [f64],
}

fn erf(x: f64) -> f64 {
    let a = x.abs();
    let value = if a < 3.0 {
        let (mut sum, mut term, mut n) = (a, a, 0.0);
        while term.abs() > 1e-17 * sum.abs() && n < 200.0 {
            n += 1.0;
            term *= -a * a / n;
            sum += term / (2.0 * n + 1.0);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    } else {
        let fraction = (1..60).rev().fold(0.0, |f, k| f64::from(k) / 2.0 / (a + f));
        1.0 - (-a * a).exp() / ((a + fraction) * std::f64::consts::PI.sqrt())
    };
    value * x.signum()
}

fn gelu(x: f64) -> (f64, f64) {
    let cdf = 0.5 * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2));
    let density = (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
    (x * cdf, cdf + x * density)
}

pub(crate) fn gelu_map(map: Map) -> (Map, Map) {
    map.into_iter().map(gelu).unzip()
}

/// Stride 1, `[out, in, k, k]`.
pub(crate) fn conv(x: &[f64], w: &Affine<'_>, [size, ci, co, k, pad]: [usize; 5]) -> Map {
    let to = size + 2 * pad + 1 - k;
    let mut y = vec![0.0; co * to * to];
    for o in 0..co {
        let own = &mut y[o * to * to..][..to * to];
        own.fill(w.bias.get(o).copied().unwrap_or(0.0));
        for i in 0..ci {
            for ky in 0..k {
                for kx in 0..k {
                    let value = w.weight[((o * ci + i) * k + ky) * k + kx];
                    for r in 0..to {
                        let Some(sy) = (r + ky).checked_sub(pad).filter(|v| *v < size) else {
                            continue;
                        };
                        for c in 0..to {
                            if let Some(sx) = (c + kx).checked_sub(pad).filter(|v| *v < size) {
                                own[r * to + c] += value * x[(i * size + sy) * size + sx];
                            }
                        }
                    }
                }
            }
        }
    }
    y
}

/// The gradient in the input of [`conv`] on maps of `size`.
pub(crate) fn conv_back(g: &[f64], weight: &[f64], [size, ci, co, k, pad]: [usize; 5]) -> Map {
    let to = size + 2 * pad + 1 - k;
    let mut x = vec![0.0; ci * size * size];
    for o in 0..co {
        for i in 0..ci {
            for ky in 0..k {
                for kx in 0..k {
                    let value = weight[((o * ci + i) * k + ky) * k + kx];
                    for r in 0..to {
                        let Some(sy) = (r + ky).checked_sub(pad).filter(|v| *v < size) else {
                            continue;
                        };
                        for c in 0..to {
                            if let Some(sx) = (c + kx).checked_sub(pad).filter(|v| *v < size) {
                                x[(i * size + sy) * size + sx] += value * g[(o * to + r) * to + c];
                            }
                        }
                    }
                }
            }
        }
    }
    x
}

/// Transposed convolution `[in, out, k, k]`: the gradient of a convolution of stride `s`.
pub(crate) fn deconv(x: &[f64], weight: &[f64], [size, ci, co, k, pad, s]: [usize; 6]) -> Map {
    let to = (size - 1) * s + k - 2 * pad;
    let mut y = vec![0.0; co * to * to];
    for i in 0..ci {
        for o in 0..co {
            for ky in 0..k {
                for kx in 0..k {
                    let value = weight[((i * co + o) * k + ky) * k + kx];
                    for r in 0..size {
                        let Some(ty) = (r * s + ky).checked_sub(pad).filter(|v| *v < to) else {
                            continue;
                        };
                        for c in 0..size {
                            if let Some(tx) = (c * s + kx).checked_sub(pad).filter(|v| *v < to) {
                                y[(o * to + ty) * to + tx] += value * x[(i * size + r) * size + c];
                            }
                        }
                    }
                }
            }
        }
    }
    y
}

pub(crate) fn deconv_back(g: &[f64], weight: &[f64], [size, ci, co, k, pad, s]: [usize; 6]) -> Map {
    let to = (size - 1) * s + k - 2 * pad;
    let mut x = vec![0.0; ci * size * size];
    for i in 0..ci {
        for o in 0..co {
            for ky in 0..k {
                for kx in 0..k {
                    let value = weight[((i * co + o) * k + ky) * k + kx];
                    for r in 0..size {
                        let Some(ty) = (r * s + ky).checked_sub(pad).filter(|v| *v < to) else {
                            continue;
                        };
                        for c in 0..size {
                            if let Some(tx) = (c * s + kx).checked_sub(pad).filter(|v| *v < to) {
                                x[(i * size + r) * size + c] += value * g[(o * to + ty) * to + tx];
                            }
                        }
                    }
                }
            }
        }
    }
    x
}

/// The gradient in the weights of [`conv`] and in its bias.
pub(crate) fn conv_weights(
    x: &[f64],
    g: &[f64],
    [size, ci, co, k, pad]: [usize; 5],
) -> [Vec<f64>; 2] {
    let to = size + 2 * pad + 1 - k;
    let mut w = vec![0.0; co * ci * k * k];
    for (place, w) in w.iter_mut().enumerate() {
        let (o, i, ky, kx) = (
            place / (ci * k * k),
            place / (k * k) % ci,
            place / k % k,
            place % k,
        );
        for r in 0..to {
            let Some(sy) = (r + ky).checked_sub(pad).filter(|v| *v < size) else {
                continue;
            };
            for c in 0..to {
                if let Some(sx) = (c + kx).checked_sub(pad).filter(|v| *v < size) {
                    *w += x[(i * size + sy) * size + sx] * g[(o * to + r) * to + c];
                }
            }
        }
    }
    [w, sums(g, co)]
}

pub(crate) fn sums(g: &[f64], channels: usize) -> Vec<f64> {
    g.chunks(g.len() / channels)
        .map(|own| own.iter().sum())
        .collect()
}

/// The gradient in the weights of [`deconv`].
pub(crate) fn deconv_weights(
    x: &[f64],
    g: &[f64],
    [size, ci, co, k, pad, s]: [usize; 6],
) -> Vec<f64> {
    let to = (size - 1) * s + k - 2 * pad;
    let mut w = vec![0.0; ci * co * k * k];
    for (place, w) in w.iter_mut().enumerate() {
        let (i, o, ky, kx) = (
            place / (co * k * k),
            place / (k * k) % co,
            place / k % k,
            place % k,
        );
        for r in 0..size {
            let Some(ty) = (r * s + ky).checked_sub(pad).filter(|v| *v < to) else {
                continue;
            };
            for c in 0..size {
                if let Some(tx) = (c * s + kx).checked_sub(pad).filter(|v| *v < to) {
                    *w += x[(i * size + r) * size + c] * g[(o * to + ty) * to + tx];
                }
            }
        }
    }
    w
}

/// The gradient in the weights of [`linear`].
pub(crate) fn linear_weights(x: &[f64], g: &[f64]) -> Vec<f64> {
    x.iter()
        .flat_map(|x| g.iter().map(move |g| x * g))
        .collect()
}

/// `[in, out]`
pub(crate) fn linear(x: &[f64], w: &Affine<'_>, out: usize) -> Vec<f64> {
    let mut y = vec![0.0; out];
    y.copy_from_slice(w.bias);
    for (i, v) in x.iter().enumerate() {
        for (y, w) in y.iter_mut().zip(&w.weight[i * out..][..out]) {
            *y += v * w;
        }
    }
    y
}

pub(crate) fn linear_back(g: &[f64], weight: &[f64]) -> Vec<f64> {
    let dot = |row: &[f64]| row.iter().zip(g).map(|(w, g)| w * g).sum();
    weight.chunks(g.len()).map(dot).collect()
}

pub(crate) fn times(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a * b).collect()
}

pub(crate) fn plus(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

pub(crate) fn scale(form: Scale, v: f64) -> (f64, f64) {
    let soft = v.max(0.0) + (-v.abs()).exp().ln_1p();
    let logistic = 1.0 / (1.0 + (-v).exp());
    match form {
        Scale::SoftplusLogVariance => {
            let s = (soft.min(10.0) / 2.0).exp();
            (s, if soft < 10.0 { s * logistic / 2.0 } else { 0.0 })
        }
        Scale::LogVariance => {
            let s = (v.clamp(-10.0, 10.0) / 2.0).exp();
            (s, if v.abs() < 10.0 { s / 2.0 } else { 0.0 })
        }
        Scale::Softplus => (soft + 1e-3, logistic),
    }
}
