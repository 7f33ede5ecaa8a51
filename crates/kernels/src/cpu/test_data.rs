//! Numbers for the tests.

/// `len` values in [-1, 1), from a linear congruence.
pub(crate) fn values(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..len)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// Fails where the error exceeds `tolerance` times the largest value.
pub(crate) fn close(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    for (i, (&f, &e)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(f) - e).abs();
        assert!(
            error <= tolerance * scale,
            "{what}, element {i}: {f}, not {e}"
        );
    }
}

/// Four-dimensional reading, zero outside.
pub(crate) struct Grid<'a>(&'a [f32], [usize; 4]);

impl<'a> Grid<'a> {
    pub(crate) fn new(values: &'a [f32], dims: [usize; 4]) -> Self {
        Self(values, dims)
    }

    pub(crate) fn at(&self, index: [usize; 4]) -> f64 {
        let mut flat = 0;
        for (i, d) in index.into_iter().zip(self.1) {
            if i >= d {
                return 0.0;
            }
            flat = flat * d + i;
        }
        f64::from(self.0[flat])
    }
}
