//! Decoded images of a folder, kept in one file:
//! magic, key, SHA-256 of the rest, the list of the files that failed and why, the pixels.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

use crate::atomic::write_whole;
use crate::hash::hex;

const MAGIC: &[u8; 16] = b"shortrun images\x01";
const HASH: usize = 32;

/// What came of decoding a list of files.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// The images that could be decoded, one after the other in the order of the list.
    pub(crate) pixels: Vec<u8>,
    /// The places in the list of the others, and why, in order.
    pub(crate) failed: Vec<(usize, String)>,
}

/// Where the images of one list of files, decoded in one way, are kept.
pub(crate) struct Cache {
    path: PathBuf,
    key: [u8; HASH],
    count: usize,
    values: usize,
}

impl Cache {
    /// The cache in `folder` for `files` decoded to `channels` and `size` by `size` pixels. Other
    /// paths, lengths, times of change, sizes or channels make another key.
    pub(crate) fn of(
        folder: &Path,
        files: &[PathBuf],
        size: usize,
        channels: usize,
    ) -> io::Result<Self> {
        let mut hasher = Sha256::new();
        hasher.update(MAGIC);
        for number in [size, channels, files.len()] {
            hasher.update((number as u64).to_le_bytes());
        }
        for file in files {
            let metadata = file.metadata()?;
            let changed = metadata.modified()?.duration_since(UNIX_EPOCH);
            let changed = changed.map_or(0, |time| time.as_nanos());
            let name = file.as_os_str().as_encoded_bytes();
            hasher.update((name.len() as u64).to_le_bytes());
            hasher.update(name);
            hasher.update(metadata.len().to_le_bytes());
            hasher.update(changed.to_le_bytes());
        }
        let key: [u8; HASH] = hasher.finalize().into();
        Ok(Self {
            path: folder.join(format!("{}.images", hex(&key[..16]))),
            key,
            count: files.len(),
            values: channels * size * size,
        })
    }

    /// The images, if they are there and whole.
    pub(crate) fn load(&self) -> Option<Decoded> {
        let bytes = std::fs::read(&self.path).ok()?;
        let decoded = self.parse(bytes);
        if decoded.is_none() {
            tracing::warn!(
                "{} is damaged: decoding the images again",
                self.path.display()
            );
        }
        decoded
    }

    fn parse(&self, mut bytes: Vec<u8>) -> Option<Decoded> {
        let rest = bytes.strip_prefix(MAGIC)?.strip_prefix(&self.key)?;
        let (hash, mut rest) = rest.split_first_chunk::<HASH>()?;
        if Sha256::digest(rest)[..] != *hash {
            return None;
        }
        let number = |rest: &mut &[u8]| {
            let (number, tail) = rest.split_first_chunk::<8>()?;
            *rest = tail;
            usize::try_from(u64::from_le_bytes(*number)).ok()
        };
        let mut failed = Vec::new();
        for _ in 0..number(&mut rest)? {
            let (index, length) = (number(&mut rest)?, number(&mut rest)?);
            let (reason, tail) = rest.split_at_checked(length)?;
            rest = tail;
            failed.push((index, String::from_utf8_lossy(reason).into_owned()));
        }
        if rest.len() != (self.count - failed.len().min(self.count)) * self.values {
            return None;
        }
        // What is left are the pixels; moving them down spares a second copy of them all.
        bytes.drain(..bytes.len() - rest.len());
        let pixels = bytes;
        Some(Decoded { pixels, failed })
    }

    /// Keeps the images.
    pub(crate) fn store(&self, decoded: &Decoded) -> io::Result<()> {
        let number = |number: usize| (number as u64).to_le_bytes();
        let mut failed = number(decoded.failed.len()).to_vec();
        for (index, reason) in &decoded.failed {
            failed.extend([number(*index), number(reason.len())].as_flattened());
            failed.extend(reason.bytes());
        }
        let hash = Sha256::new()
            .chain_update(&failed)
            .chain_update(&decoded.pixels);
        let hash: [u8; HASH] = hash.finalize().into();
        write_whole(&self.path, |file| {
            let parts = [&MAGIC[..], &self.key, &hash, &failed, &decoded.pixels];
            parts.iter().try_for_each(|part| file.write_all(part))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_was_stored_comes_back_and_any_damage_is_noticed() {
        let folder = tempfile::TempDir::new().unwrap();
        let files = ["a", "b", "c"].map(|name| folder.path().join(name));
        files
            .iter()
            .for_each(|file| fs::write(file, "image").unwrap());
        let cache = Cache::of(folder.path(), &files, 2, 1).unwrap();
        assert!(cache.load().is_none());
        let decoded = Decoded {
            pixels: (0..8).collect(),
            failed: vec![(1, "no image".into())],
        };
        cache.store(&decoded).unwrap();
        assert_eq!(cache.load().unwrap(), decoded);

        let whole = fs::read(&cache.path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 4;
            fs::write(&cache.path, damaged).unwrap();
            assert!(cache.load().is_none(), "byte {at}");
            fs::write(&cache.path, &whole[..at]).unwrap();
            assert!(cache.load().is_none(), "cut at {at}");
        }
    }

    #[test]
    fn the_key_follows_files_size_and_channels() {
        let folder = tempfile::TempDir::new().unwrap();
        let files = ["a", "b"].map(|name| folder.path().join(name));
        files
            .iter()
            .for_each(|file| fs::write(file, "image").unwrap());
        let key = |files: &[PathBuf], size, channels| {
            Cache::of(folder.path(), files, size, channels).unwrap().key
        };
        let first = key(&files, 32, 3);
        assert_eq!(first, key(&files, 32, 3));
        assert_ne!(first, key(&files, 64, 3));
        assert_ne!(first, key(&files, 32, 1));
        assert_ne!(first, key(&files[..1], 32, 3));
        fs::write(&files[0], "other image").unwrap();
        let longer = key(&files, 32, 3);
        assert_ne!(first, longer);
        let file = fs::File::options().append(true).open(&files[0]).unwrap();
        file.set_modified(UNIX_EPOCH).unwrap();
        assert_ne!(longer, key(&files, 32, 3));
    }
}
