use std::fs;

use safetensors::SafeTensors;

use crate::common::*;

#[test]
fn a_trace_can_be_checked_on_the_host() {
    let folder = trained();
    let trace = |out: &str| {
        done(
            folder.path(),
            &[
                "trace", "--run", "run", "--split", "train", "--count", "2", "--out", out,
            ],
        );
        fs::read(folder.path().join(out)).unwrap()
    };
    let bytes = trace("a.safetensors");
    assert_eq!(bytes, trace("b.safetensors"));
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (k, n, d) = (3, 2, 5);
    for (name, shape) in [
        ("x", vec![n, 1, 28, 28]),
        ("z0", vec![n, d]),
        ("noise", vec![k, n, d]),
        ("z", vec![k + 1, n, d]),
        ("energy", vec![k + 1, n]),
        ("gradient0", vec![n, d]),
        ("step_sizes", vec![k]),
        ("sigma", vec![1]),
    ] {
        assert_eq!(file.tensor(name).unwrap().shape(), shape, "{name}");
    }
    assert_eq!(file.names().len(), 8);
    let (single, double) = (
        |name: &str| singles(&file, name),
        |name: &str| doubles(&file, name),
    );
    let (z, noise, gradient) = (single("z"), single("noise"), single("gradient0"));
    let s = double("step_sizes")[0];
    assert_eq!(single("z0"), z[..n * d]);
    for at in 0..n * d {
        let expected = z[at] - s * gradient[at] + (2.0 * s).sqrt() * noise[at];
        let found = z[n * d + at];
        assert!(
            (found - expected).abs() < 1e-5 * (1.0 + expected.abs()),
            "{found} {expected}"
        );
    }
    assert!(single("energy").iter().all(|energy| energy.is_finite()));
    assert!(single("x").iter().all(|value| (-1.0..=1.0).contains(value)));
    assert!(double("sigma")[0] > 0.0);
}

/// A float32 tensor's values.
fn singles(file: &SafeTensors<'_>, name: &str) -> Vec<f64> {
    let (values, _) = file.tensor(name).unwrap().data().as_chunks::<4>();
    values
        .iter()
        .map(|v| f32::from_le_bytes(*v).into())
        .collect()
}

/// A float64 tensor's values.
fn doubles(file: &SafeTensors<'_>, name: &str) -> Vec<f64> {
    let (values, _) = file.tensor(name).unwrap().data().as_chunks::<8>();
    values.iter().map(|v| f64::from_le_bytes(*v)).collect()
}

/// `[n]` sums of rows of `[n, d]`.
fn by_row(values: &[f64], n: usize, of: impl Fn(f64) -> f64) -> Vec<f64> {
    let rows = values.chunks_exact(values.len() / n);
    rows.map(|row| row.iter().map(|value| of(*value)).sum())
        .collect()
}

#[test]
fn a_trace_with_its_objective_adds_up() {
    let folder = trained();
    let arguments = [
        "trace",
        "--run",
        "run",
        "--count",
        "2",
        "--objective",
        "--out",
        "a.safetensors",
    ];
    done(folder.path(), &arguments);
    let bytes = fs::read(folder.path().join("a.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (single, double) = (
        |name: &str| singles(&file, name),
        |name: &str| doubles(&file, name),
    );
    let (k, n) = (3, 2);
    assert_eq!(file.tensor("logdet").unwrap().shape(), [k, n]);
    let (logdet, energy, sigma) = (double("logdet"), single("energy"), double("sigma")[0]);
    let constant = 0.5 * 784.0 * (std::f64::consts::TAU * sigma * sigma).ln();
    let squares = by_row(&single("z0"), n, |value| value * value);
    let objective = double("objective");
    assert_eq!(objective.len(), n);
    for i in 0..n {
        let determinants: f64 = (0..k).map(|step| logdet[step * n + i]).sum();
        let expected = -squares[i] / 2.0 - determinants + energy[k * n + i] + constant;
        let found = objective[i];
        assert!(
            (found - expected).abs() < 1e-5 * (1.0 + expected.abs()),
            "{found} {expected}"
        );
    }
}
