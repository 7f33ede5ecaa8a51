//! Random words from a counter (Philox 4x32, ten rounds; Salmon, Moraes, Dror and Shaw, *Parallel
//! random numbers: as easy as 1, 2, 3*, 2011).

const MULTIPLY: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;

/// Four random words.
pub(crate) fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let ([mut c0, mut c1, mut c2, mut c3], [mut k0, mut k1]) = (counter, key);
    for _ in 0..ROUNDS {
        let p0 = u64::from(MULTIPLY[0]) * u64::from(c0);
        let p1 = u64::from(MULTIPLY[1]) * u64::from(c2);
        (c0, c1, c2, c3) = (
            (p1 >> 32) as u32 ^ c1 ^ k0,
            p1 as u32,
            (p0 >> 32) as u32 ^ c3 ^ k1,
            p0 as u32,
        );
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
    }
    [c0, c1, c2, c3]
}

/// A standard normal number from two random words (Box and Muller's cosine).
pub(crate) fn normal(radius: u32, angle: u32) -> f64 {
    let uniform = |word: u32| (f64::from(word >> 8) + 0.5) / f64::from(1 << 24);
    (-2.0 * uniform(radius).ln()).sqrt() * (std::f64::consts::TAU * uniform(angle)).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers of the authors' Random123.
    #[test]
    fn words_are_those_of_the_paper() {
        for (counter, key, expected) in [
            (
                [0; 4],
                [0; 2],
                [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8],
            ),
            (
                [u32::MAX; 4],
                [u32::MAX; 2],
                [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd],
            ),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ] {
            assert_eq!(philox(counter, key), expected);
        }
    }
}
