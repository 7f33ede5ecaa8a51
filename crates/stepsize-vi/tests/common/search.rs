//! Minima and derivatives of functions of the step sizes.

use std::ops::Range;

/// The step size in `range` that minimises `objective`: golden section over `log s`, to 1e-6 in it.
///
/// For objectives with one minimum in the range.
pub(crate) fn best(objective: impl Fn(f64) -> f64, range: Range<f64>) -> f64 {
    let ratio = (5.0_f64.sqrt() - 1.0) / 2.0;
    let at = |log_s: f64| objective(log_s.exp());
    let (mut low, mut high) = (range.start.ln(), range.end.ln());
    let (mut left, mut right) = (high - ratio * (high - low), low + ratio * (high - low));
    let (mut at_left, mut at_right) = (at(left), at(right));
    while high - low > 1e-6 {
        if at_left < at_right {
            (high, right, at_right) = (right, left, at_left);
            left = high - ratio * (high - low);
            at_left = at(left);
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = low + ratio * (high - low);
            at_right = at(right);
        }
    }
    ((low + high) / 2.0).exp()
}

/// The gradient of `objective` in each of `sizes`, by differences of fourth order.
///
/// In `log s` it is `s` times that.
pub(crate) fn gradient(objective: impl Fn(&[f64]) -> f64, sizes: &[f64]) -> Vec<f64> {
    let one = |i: usize| {
        let h = 1e-3 * sizes[i];
        let at = |times: f64| {
            let mut moved = sizes.to_vec();
            moved[i] += times * h;
            objective(&moved)
        };
        (8.0 * (at(1.0) - at(-1.0)) - (at(2.0) - at(-2.0))) / (12.0 * h)
    };
    (0..sizes.len()).map(one).collect()
}
