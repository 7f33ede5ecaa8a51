//! The generators that are checked.

use shortrun_kernels::{Scale, Shape};

/// The preset of that name.
pub(crate) fn released() -> Shape {
    Shape {
        latents: vec![64, 64, 64, 96, 128],
        head_channels: vec![64, 64, 96, 128],
        size: 16,
        image_channels: 3,
        doublings: 1,
        features: 64,
        seed_channels: 4,
        refine_blocks: 1,
        scale: Scale::SoftplusLogVariance,
    }
}

/// Names and shapes.
pub(crate) fn shapes() -> Vec<(&'static str, Shape)> {
    let table4 = Shape {
        latents: vec![32, 64, 128],
        head_channels: vec![64, 64],
        refine_blocks: 0,
        ..released()
    };
    let quick_grey = Shape {
        latents: vec![32, 64],
        head_channels: vec![16],
        size: 14,
        image_channels: 1,
        features: 16,
        refine_blocks: 0,
        scale: Scale::LogVariance,
        ..released()
    };
    let one = Shape {
        latents: vec![128],
        head_channels: vec![],
        refine_blocks: 0,
        ..released()
    };
    let odd = Shape {
        latents: vec![10, 20],
        head_channels: vec![24],
        features: 48,
        refine_blocks: 2,
        scale: Scale::Softplus,
        ..released()
    };
    let two = Shape {
        latents: vec![20, 40],
        head_channels: vec![40],
        ..released()
    };
    let finer_one = Shape {
        features: 24,
        ..finer(one.clone())
    };
    let wide = Shape {
        features: 96,
        ..two.clone()
    };
    let wide_finer = Shape {
        features: 130,
        image_channels: 1,
        ..finer(two.clone())
    };
    vec![
        ("released", released()),
        ("table4", table4),
        ("quick, grey 28", quick_grey),
        ("l1", one),
        ("odd sizes", odd),
        ("64 pixels", finer(two)),
        ("64 pixels, one layer", finer_one),
        ("96 features", wide),
        ("130 features, grey 64", wide_finer),
    ]
}

/// For images of twice the size.
pub(crate) fn finer(shape: Shape) -> Shape {
    Shape {
        doublings: 2,
        ..shape
    }
}

/// Of twice as many features, in the heads too.
pub(crate) fn wider(shape: Shape) -> Shape {
    Shape {
        head_channels: shape.head_channels.iter().map(|c| 2 * c).collect(),
        features: 128,
        ..shape
    }
}
