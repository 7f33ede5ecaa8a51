use crate::{Error, permutation};

/// The batches of a training run, by iteration number.
///
/// The permutations of epochs 0, 1, 2, … laid end to end form one endless row of images, cut into
/// batches. So every batch is full, every image comes once per epoch, a batch may end one epoch and
/// begin the next, and a data set smaller than a batch is repeated within it.
#[derive(Debug, Clone)]
pub struct Batches {
    seed: u64,
    len: usize,
    batch_size: usize,
    /// The epoch last asked for: consecutive iterations share it.
    epoch: Option<(u64, Vec<usize>)>,
}

impl Batches {
    /// Batches of `batch_size` images from a data set of `len` images.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if `len` or `batch_size` is 0.
    pub fn new(seed: u64, len: usize, batch_size: usize) -> Result<Self, Error> {
        for (what, value) in [("number of images", len), ("batch size", batch_size)] {
            if value == 0 {
                return Err(Error::Invalid {
                    what,
                    found: value.to_string(),
                    expected: "at least 1".into(),
                });
            }
        }
        Ok(Self {
            seed,
            len,
            batch_size,
            epoch: None,
        })
    }

    /// The images of batch `iteration` (from 0): `batch_size` indices below `len`.
    ///
    /// Depends on the arguments of [`new`](Self::new) and `iteration` alone, not on earlier calls.
    pub fn indices(&mut self, iteration: u64) -> Vec<usize> {
        let len = self.len as u128;
        let first = u128::from(iteration) * self.batch_size as u128;
        (first..first + self.batch_size as u128)
            .map(|place| self.at((place / len) as u64, (place % len) as usize))
            .collect()
    }

    fn at(&mut self, epoch: u64, place: usize) -> usize {
        match &self.epoch {
            Some((current, order)) if *current == epoch => order[place],
            _ => {
                let order = permutation(self.seed, epoch, self.len);
                let index = order[place];
                self.epoch = Some((epoch, order));
                index
            }
        }
    }
}

/// The images of one batch, as [`Batches::indices`] gives them: for one batch out of the row.
///
/// # Errors
///
/// [`Error::Invalid`] if `len` or `batch_size` is 0.
pub fn batch_indices(
    seed: u64,
    len: usize,
    batch_size: usize,
    iteration: u64,
) -> Result<Vec<usize>, Error> {
    Ok(Batches::new(seed, len, batch_size)?.indices(iteration))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_full_and_run_through_the_epochs() {
        let mut batches = Batches::new(3, 10, 4).unwrap();
        let row: Vec<usize> = (0..5).flat_map(|i| batches.indices(i)).collect();
        assert_eq!(row, [permutation(3, 0, 10), permutation(3, 1, 10)].concat());
    }

    #[test]
    fn any_iteration_can_be_asked_for_directly() {
        let mut batches = Batches::new(5, 17, 6).unwrap();
        for iteration in [0, 1, 2, 40, 3, 1_000_000, u64::MAX] {
            let direct = batch_indices(5, 17, 6, iteration).unwrap();
            assert_eq!(batches.indices(iteration), direct);
            assert_eq!(direct.len(), 6);
        }
    }

    #[test]
    fn a_small_data_set_is_repeated_within_a_batch() {
        let batch = batch_indices(0, 3, 8, 0).unwrap();
        let counts = [0, 1, 2].map(|image| batch.iter().filter(|&&i| i == image).count());
        assert_eq!(batch.len(), 8);
        assert!(counts.iter().all(|count| (2..=3).contains(count)));
    }

    #[test]
    fn nothing_to_draw_from_is_an_error() {
        let error = batch_indices(0, 0, 8, 0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "number of images: found 0, expected at least 1"
        );
        assert!(batch_indices(0, 8, 0, 0).is_err());
    }
}
