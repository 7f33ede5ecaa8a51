use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// The order in which an epoch visits a data set of `len` images: a permutation of `0..len` that
/// depends on `(seed, epoch)` and `len` alone, so a resumed run needs no stored state.
pub fn permutation(seed: u64, epoch: u64, len: usize) -> Vec<usize> {
    shuffled(seed, epoch, *b"epoch\0\0\0", len)
}

/// A permutation of `0..len` by a generator of its own: another `purpose`, another order.
pub(crate) fn shuffled(seed: u64, number: u64, purpose: [u8; 8], len: usize) -> Vec<usize> {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&number.to_le_bytes());
    key[16..24].copy_from_slice(&purpose);
    let mut order: Vec<usize> = (0..len).collect();
    order.shuffle(&mut ChaCha8Rng::from_seed(key));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_is_a_permutation_and_another_one() {
        let (first, second) = (permutation(7, 0, 1000), permutation(7, 1, 1000));
        for order in [&first, &second] {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert!(sorted.iter().copied().eq(0..1000));
        }
        assert_ne!(first, second);
        assert_ne!(first, permutation(8, 0, 1000));
        assert_eq!(first, permutation(7, 0, 1000));
    }

    /// A crate update that changes the order would silently break resuming: this pins it.
    #[test]
    fn the_order_is_the_same_for_good() {
        assert_eq!(permutation(1, 0, 10), [2, 1, 4, 5, 8, 0, 6, 7, 3, 9]);
    }
}
