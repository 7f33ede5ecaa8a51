use super::*;

#[test]
fn same_seed_gives_same_bytes_and_another_seed_others() {
    let first = house_numbers(3, 20, 32);
    assert_eq!(first, house_numbers(3, 20, 32));
    assert_ne!(first.0, house_numbers(4, 20, 32).0);
}

#[test]
fn a_small_set_is_a_prefix_of_a_large_one() {
    let (pixels, labels) = house_numbers(11, 40, 28);
    let (few_pixels, few_labels) = house_numbers(11, 13, 28);
    assert_eq!(few_pixels, pixels[..13 * 3 * 28 * 28]);
    assert_eq!(few_labels, labels[..13]);
}

#[test]
fn one_thread_gives_what_many_give() {
    let many = house_numbers(5, 64, 32);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .expect("one more thread");
    assert_eq!(many, pool.install(|| house_numbers(5, 64, 32)));
}

/// Guards the set against changes by accident: figures of sets that people publish must stay true.
#[test]
fn the_first_images_never_change() {
    let (pixels, labels) = house_numbers(0, 8, 32);
    // FNV-1a over all bytes.
    let hash = pixels
        .iter()
        .chain(&labels)
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    assert_eq!(hash, 0x1152_05d0_6f40_e734, "{hash:#018x}");
}

#[test]
fn labels_occur_about_evenly() {
    let (_, labels) = house_numbers(1, 4000, 8);
    let mut counts = [0_u32; 10];
    for label in labels {
        counts[usize::from(label)] += 1;
    }
    // 400 expected of each; five standard deviations are 95.
    assert!(counts.iter().all(|n| (305..=495).contains(n)), "{counts:?}");
}

#[test]
fn an_empty_set_is_empty() {
    assert_eq!(house_numbers(0, 0, 32), (vec![], vec![]));
}

/// Real SVHN (7,000 training crops): mean 117, standard deviation of all pixels 58, median
/// standard deviation within a crop about 29.
#[test]
fn brightness_and_contrast_are_those_of_photographs() {
    let (pixels, _) = house_numbers(2, 1500, 32);
    let (mean, deviation) = mean_and_deviation(&pixels);
    assert!((105.0..125.0).contains(&mean), "{mean}");
    assert!((50.0..65.0).contains(&deviation), "{deviation}");
    let mut within: Vec<f32> = pixels
        .chunks(3 * 32 * 32)
        .map(|image| mean_and_deviation(image).1)
        .collect();
    within.sort_by(f32::total_cmp);
    assert!(within[0] > 3.0, "a blank image: {}", within[0]);
    let median = within[750];
    assert!((23.0..35.0).contains(&median), "{median}");
}

#[test]
fn other_sizes_show_the_same_scene() {
    let (at_32, labels_32) = house_numbers(9, 50, 32);
    for size in [8, 17, 28, 64, 96] {
        let (pixels, labels) = house_numbers(9, 50, size);
        assert_eq!(pixels.len(), 50 * 3 * size * size);
        assert_eq!(labels, labels_32);
    }
    // Two by two pixels of the 64 make one of the 32: alike but for noise and edges.
    let (at_64, _) = house_numbers(9, 50, 64);
    let mut error = 0.0;
    for (plane_32, plane_64) in at_32.chunks(32 * 32).zip(at_64.chunks(64 * 64)) {
        for (k, &pixel) in plane_32.iter().enumerate() {
            let corner = 2 * (k / 32) * 64 + 2 * (k % 32);
            let four = [0, 1, 64, 65].map(|d| f32::from(plane_64[corner + d]));
            error += (f32::from(pixel) - four.iter().sum::<f32>() / 4.0).abs();
        }
    }
    let mean_error = error / at_32.len() as f32;
    assert!(mean_error < 3.0, "{mean_error} grey levels");
}

#[test]
#[should_panic(expected = "at least 8x8")]
fn too_small_an_image_is_refused() {
    let _ = house_numbers(0, 1, 7);
}

/// The nearest class mean, from 4,000 images to 1,000 others. Chance is 0.1; this crude reader,
/// blind to shifts, scale and neighbours, must still get 0.5.
#[test]
fn a_template_reader_tells_the_digits_apart() {
    let (pixels, labels) = house_numbers(6, 5000, 32);
    let features: Vec<Vec<f32>> = pixels.chunks(3 * 32 * 32).map(contrast_map).collect();
    let mut means = vec![vec![0.0; 32 * 32]; 10];
    let mut counts = [0.0_f32; 10];
    for (feature, &label) in features.iter().zip(&labels).take(4000) {
        counts[usize::from(label)] += 1.0;
        for (mean, value) in means[usize::from(label)].iter_mut().zip(feature) {
            *mean += value;
        }
    }
    for (mean, count) in means.iter_mut().zip(counts) {
        mean.iter_mut().for_each(|value| *value /= count);
    }
    let nearest = |feature: &[f32]| {
        let distance = |mean: &[f32]| -> f32 {
            mean.iter()
                .zip(feature)
                .map(|(m, f)| (m - f) * (m - f))
                .sum()
        };
        (0..10).min_by(|&a, &b| distance(&means[a]).total_cmp(&distance(&means[b])))
    };
    let right = features[4000..]
        .iter()
        .zip(&labels[4000..])
        .filter(|(feature, label)| nearest(feature) == Some(usize::from(**label)))
        .count();
    let accuracy = right as f32 / 1000.0;
    assert!(accuracy > 0.5, "{accuracy}");
}

/// Grey image minus its mean over its standard deviation, with the sign that makes the digit positive:
/// of the two ways round, the ground is the commoner, so the ink is where the skew points.
fn contrast_map(image: &[u8]) -> Vec<f32> {
    let n = image.len() / 3;
    let grey: Vec<f32> = (0..n)
        .map(|k| (0..3).map(|c| f32::from(image[c * n + k])).sum())
        .collect();
    let mean = grey.iter().sum::<f32>() / n as f32;
    let deviation = (grey.iter().map(|g| (g - mean) * (g - mean)).sum::<f32>() / n as f32).sqrt();
    let map: Vec<f32> = grey.iter().map(|g| (g - mean) / deviation).collect();
    let skew: f32 = map.iter().map(|v| v * v * v).sum();
    map.iter().map(|v| v * skew.signum()).collect()
}

fn mean_and_deviation(pixels: &[u8]) -> (f32, f32) {
    let n = pixels.len() as f64;
    let sum: f64 = pixels.iter().map(|&p| f64::from(p)).sum();
    let squares: f64 = pixels.iter().map(|&p| f64::from(p) * f64::from(p)).sum();
    let mean = sum / n;
    (mean as f32, (squares / n - mean * mean).sqrt() as f32)
}
