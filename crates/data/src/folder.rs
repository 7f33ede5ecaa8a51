use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageDecoder, ImageReader};
use rayon::prelude::*;
use walkdir::WalkDir;

use crate::cache::{Cache, Decoded};
use crate::fit::{fit, too_small};
use crate::images::luma;
use crate::{Error, ImageShape, Images, progress};

/// No image of a data set needs more memory than this; a damaged or hostile header may claim it.
const LARGEST: u64 = 1 << 29;
/// How many unreadable images a warning names.
const NAMED: usize = 5;

/// An image of a folder that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The file.
    pub path: PathBuf,
    /// Why it could not be used.
    pub reason: String,
}

/// The jpg and png files in `folder` and the folders in it, sorted by path. What begins with a dot
/// is passed over; links are followed.
pub(crate) fn list(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let hidden = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".");
    let walk = WalkDir::new(folder).follow_links(true).into_iter();
    let seen = walk.filter_entry(|entry| entry.depth() == 0 || !hidden(entry.file_name()));
    let mut files = Vec::new();
    for entry in seen {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(folder).to_owned();
            Error::read(&path, error.into())
        })?;
        if entry.file_type().is_file() && is_image(entry.path()) {
            files.push(entry.into_path());
        }
    }
    files.sort();
    Ok(files)
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
    ["jpg", "jpeg", "png"]
        .iter()
        .any(|known| extension == *known)
}

/// Decodes `files` of `folder` in their order to `[n, channels, size, size]`: short side scaled to
/// `size`, centre cut out. The result is kept in the folder `cache`, if that can be written. Files
/// that cannot be decoded are left out, named in one warning, and returned.
pub(crate) fn read(
    folder: &Path,
    files: &[PathBuf],
    size: usize,
    channels: usize,
    cache: &Path,
) -> Result<(Images, Vec<Skipped>), Error> {
    let shape = ImageShape::square(channels, size);
    let kept = Cache::of(cache, files, size, channels);
    let decoded = match kept.as_ref().ok().and_then(Cache::load) {
        Some(decoded) => decoded,
        None => {
            let decoded = decode_all(folder, files, shape);
            if let Err(error) = kept.and_then(|kept| kept.store(&decoded)) {
                tracing::warn!(
                    "the decoded images of {} cannot be kept in {} and will be decoded again next \
                     time: {error}",
                    folder.display(),
                    cache.display()
                );
            }
            decoded
        }
    };
    let failed = decoded.failed.into_iter();
    let skipped: Vec<Skipped> = failed
        .map(|(index, reason)| Skipped {
            path: files[index].clone(),
            reason,
        })
        .collect();
    if let Some(first) = skipped.first() {
        if skipped.len() == files.len() {
            return Err(Error::NoneDecoded {
                folder: folder.to_owned(),
                count: files.len(),
                first: first.path.clone(),
                reason: first.reason.clone(),
            });
        }
        warn(folder, &skipped, files.len());
    }
    Ok((Images::new(shape, decoded.pixels, None)?, skipped))
}

fn decode_all(folder: &Path, files: &[PathBuf], shape: ImageShape) -> Decoded {
    let values = shape.values();
    let bar = progress::items(files.len(), format!("decoding {}", folder.display()));
    let mut pixels = vec![0; files.len() * values];
    let slots = pixels.par_chunks_exact_mut(values).zip(files).enumerate();
    let failed: Vec<(usize, String)> = slots
        .filter_map(|(index, (slot, file))| {
            let decoded = decode(file, shape, slot);
            bar.inc(1);
            Some((index, decoded.err()?.to_string()))
        })
        .collect();
    bar.finish_and_clear();

    // Close the gaps that failed files left.
    let mut gaps = failed.iter().map(|(index, _)| *index).peekable();
    let mut end = 0;
    for index in 0..files.len() {
        if gaps.next_if_eq(&index).is_none() {
            pixels.copy_within(index * values..(index + 1) * values, end);
            end += values;
        }
    }
    pixels.truncate(end);
    Decoded { pixels, failed }
}

/// Decodes one file to `pixels`, `[channels, height, width]`; transparency is dropped.
fn decode(
    file: &Path,
    shape: ImageShape,
    pixels: &mut [u8],
) -> Result<(), Box<dyn std::error::Error>> {
    let bytes = std::fs::read(file)?;
    if is_cut_off_jpeg(&bytes) {
        return Err("the file is cut off".into());
    }
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    let mut decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    if decoder.total_bytes() > LARGEST {
        return Err(format!("{width}x{height} pixels are too many").into());
    }
    if let Some(least) = too_small(height as usize, width as usize, shape.height) {
        let reason = format!("{width}x{height} pixels, at least {least} a side are needed");
        return Err(reason.into());
    }
    // Photographs may be stored lying on their side, with a note which way is up.
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);

    let square = fit(image.into_rgb8(), shape.width as u32);
    for (index, pixel) in square.pixels().enumerate() {
        let [red, green, blue] = pixel.0;
        if shape.channels == 1 {
            pixels[index] = luma(red, green, blue);
        } else {
            for (channel, value) in [red, green, blue].into_iter().enumerate() {
                pixels[channel * shape.plane() + index] = value;
            }
        }
    }
    Ok(())
}

/// Whether a JPEG has no end marker (ff d9) after its last scan (ff da). The decoder fills what is
/// missing with grey and says nothing. Within a scan no byte ff comes before these two.
fn is_cut_off_jpeg(bytes: &[u8]) -> bool {
    let last = |marker: u8| bytes.windows(2).rposition(|pair| pair == [0xff, marker]);
    bytes.starts_with(&[0xff, 0xd8]) && last(0xd9) < last(0xda).max(Some(0))
}

fn warn(folder: &Path, skipped: &[Skipped], count: usize) {
    let name = |skipped: &Skipped| format!("{} ({})", skipped.path.display(), skipped.reason);
    let mut names: Vec<String> = skipped.iter().take(NAMED).map(name).collect();
    if skipped.len() > NAMED {
        names.push("…".into());
    }
    tracing::warn!(
        "{}: {} of {count} images could not be decoded and are left out: {}",
        folder.display(),
        skipped.len(),
        names.join(", ")
    );
}

#[cfg(test)]
mod tests {
    use std::fs;

    use image::{GrayImage, Luma, Rgb, RgbImage};
    use tempfile::TempDir;

    use super::*;

    /// Five images in two folders, one of them unreadable, and files that are no images.
    fn folder() -> TempDir {
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name);
        for sub in ["sub", ".hidden"] {
            fs::create_dir(path(sub)).unwrap();
        }
        let gradient = RgbImage::from_fn(40, 32, |x, y| Rgb([x as u8 * 6, y as u8 * 8, 50]));
        gradient.save(path("b.png")).unwrap();
        gradient.save(path("sub/c.JPG")).unwrap();
        GrayImage::from_pixel(8, 8, Luma([77]))
            .save(path("a.png"))
            .unwrap();
        fs::write(path("sub/bad.jpeg"), b"\xff\xd8\xff\xe0 cut off").unwrap();
        RgbImage::new(7, 90).save(path("z.png")).unwrap();
        gradient.save(path(".hidden/d.png")).unwrap();
        gradient.save(path(".e.png")).unwrap();
        fs::write(path("notes.txt"), "text").unwrap();
        folder
    }

    fn read_all(folder: &Path, channels: usize, cache: &Path) -> (Images, Vec<Skipped>) {
        read(folder, &list(folder).unwrap(), 32, channels, cache).unwrap()
    }

    #[test]
    fn images_of_all_folders_are_listed_in_order() {
        let folder = folder();
        let names = ["a.png", "b.png", "sub/bad.jpeg", "sub/c.JPG", "z.png"];
        let wanted = names.map(|name| folder.path().join(name));
        assert_eq!(list(folder.path()).unwrap(), wanted);
        let error = list(&folder.path().join("none")).unwrap_err();
        assert!(error.to_string().starts_with("cannot read"), "{error}");
    }

    #[test]
    fn unreadable_images_are_left_out_and_named() {
        let (folder, cache) = (folder(), TempDir::new().unwrap());
        let (images, skipped) = read_all(folder.path(), 3, cache.path());
        assert_eq!(images.len(), 3);
        assert_eq!(images.shape(), ImageShape::square(3, 32));
        assert!(images.image(0).iter().all(|&value| value == 77));
        // The middle 32 of 40 columns begin at column 4.
        let png = images.image(1);
        assert_eq!(
            (png[0], png[31], png[1024 + 32], png[2048]),
            (24, 210, 8, 50)
        );
        let far = png.iter().zip(images.image(2)).map(|(a, b)| a.abs_diff(*b));
        assert!(
            far.max().unwrap() < 30,
            "jpg and png of one picture are alike"
        );
        let names: Vec<_> = skipped
            .iter()
            .map(|s| s.path.file_name().unwrap())
            .collect();
        assert_eq!(names, ["bad.jpeg", "z.png"]);
        assert_eq!(
            skipped[1].reason,
            "7x90 pixels, at least 8 a side are needed"
        );
    }

    #[test]
    fn cut_off_pictures_are_found_wherever_the_cut_is() {
        let folder = TempDir::new().unwrap();
        let noise = RgbImage::from_fn(60, 60, |x, y| Rgb([x, y, x * y].map(|v| (v * 37) as u8)));
        for name in ["a.jpg", "a.png"] {
            let path = folder.path().join(name);
            noise.save(&path).unwrap();
            let whole = fs::read(&path).unwrap();
            let shape = ImageShape::square(3, 32);
            let mut pixels = vec![0; shape.values()];
            decode(&path, shape, &mut pixels).unwrap();
            for tenths in 0..10 {
                fs::write(&path, &whole[..whole.len() * tenths / 10]).unwrap();
                let decoded = decode(&path, shape, &mut pixels);
                assert!(decoded.is_err(), "{tenths} tenths of {name}");
            }
        }
    }

    #[test]
    fn cached_equals_decoded() {
        let (folder, cache) = (folder(), TempDir::new().unwrap());
        let fresh = read_all(folder.path(), 3, cache.path());
        let kept: Vec<_> = fs::read_dir(cache.path()).unwrap().collect();
        assert_eq!(kept.len(), 1);
        assert_eq!(read_all(folder.path(), 3, cache.path()), fresh);

        // Make sure that the cache is what is read: repaint it, with a true checksum.
        let files = list(folder.path()).unwrap();
        let kept = Cache::of(cache.path(), &files, 32, 3).unwrap();
        let mut decoded = kept.load().unwrap();
        decoded.pixels.fill(9);
        kept.store(&decoded).unwrap();
        let (images, skipped) = read_all(folder.path(), 3, cache.path());
        assert!(images.pixels().iter().all(|&value| value == 9));
        assert_eq!(skipped, fresh.1);
    }

    #[test]
    fn a_damaged_or_impossible_cache_is_done_without() {
        let (folder, cache) = (folder(), TempDir::new().unwrap());
        let fresh = read_all(folder.path(), 3, cache.path());
        let kept = fs::read_dir(cache.path()).unwrap().next().unwrap().unwrap();
        fs::write(kept.path(), "damaged").unwrap();
        assert_eq!(read_all(folder.path(), 3, cache.path()), fresh);
        assert_eq!(read_all(folder.path(), 3, cache.path()), fresh);
        // A folder cannot be made below a file.
        assert_eq!(
            read_all(folder.path(), 3, &folder.path().join("notes.txt")),
            fresh
        );
    }

    #[test]
    fn grey_is_the_grey_of_the_colours() {
        let (folder, cache) = (folder(), TempDir::new().unwrap());
        let (colour, _) = read_all(folder.path(), 3, cache.path());
        let (grey, _) = read_all(folder.path(), 1, cache.path());
        assert_eq!(grey, colour.to_grey());
    }

    #[test]
    fn a_folder_of_nothing_readable_is_an_error() {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("a.png"), "<html>").unwrap();
        let files = list(folder.path()).unwrap();
        let error = read(folder.path(), &files, 32, 3, folder.path()).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("none of its 1 images could be decoded"),
            "{text}"
        );
        assert!(text.contains("a.png"), "{text}");
    }
}
