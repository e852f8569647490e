//! What is drawn for one image.

use super::{Move, Plan, Region, Shape};
use crate::random::{bits, child, unit};

/// The changes of one image.
pub(super) struct Draws {
    pub region: Region,
    pub moves: Move,
    /// Radians.
    pub angle: f64,
    /// Of brightness, contrast and saturation.
    pub factors: [f32; 3],
    /// Row and column of the middle of the cutout.
    pub centre: [usize; 2],
}

impl Draws {
    /// Each number has a counter of its own in the sequence of the image, so what one change draws
    /// does not depend on the others: 0 flip, 1 and 2 rows and columns of the shift, 3 and 4 area
    /// and aspect of the crop, 5 and 6 its top and left, 7 angle, 8 to 10 brightness, contrast and
    /// saturation, 11 and 12 row and column of the cutout.
    pub fn new(plan: &Plan, key: u64, index: u64, input: Shape, output: Shape) -> Self {
        let key = child(key, index);
        let fraction = |counter| f64::from(unit(bits(key, counter)));
        let spread = |counter| 2.0 * fraction(counter) - 1.0;
        let shift = |counter| {
            below(bits(key, counter), 2 * u64::from(plan.shift) + 1) as i64 - i64::from(plan.shift)
        };
        let factor = |counter, range: f32| 1.0 + range * spread(counter) as f32;
        Self {
            region: region(plan.crop, input, [3, 4, 5, 6].map(fraction)),
            moves: Move {
                flip: plan.flip && bits(key, 0) >> 63 == 1,
                down: shift(1),
                right: shift(2),
            },
            angle: (plan.rotate * spread(7)).to_radians(),
            factors: [
                factor(8, plan.brightness),
                factor(9, plan.contrast),
                factor(10, plan.saturation),
            ],
            centre: [11, 12].map(|counter| {
                below(bits(key, counter), output[counter as usize - 11] as u64) as usize
            }),
        }
    }
}

/// A whole number below `count`.
fn below(bits: u64, count: u64) -> u64 {
    ((u128::from(bits) * u128::from(count)) >> 64) as u64
}

/// A part of the image whose share of the area is uniform from `crop` to 1, and whose aspect ratio,
/// that of the image being 1, is log-uniform from 3/4 to 4/3, or as far as the image allows.
fn region(crop: f64, [height, width, _]: Shape, [area, aspect, top, left]: [f64; 4]) -> Region {
    let (height, width) = (height as f64, width as f64);
    let area = 1.0 - (1.0 - crop) * area;
    let aspect = (4.0_f64 / 3.0).min(1.0 / area).powf(2.0 * aspect - 1.0);
    let part = [height * (area / aspect).sqrt(), width * (area * aspect).sqrt()];
    let part = [part[0].min(height), part[1].min(width)];
    Region { start: [top * (height - part[0]), left * (width - part[1])], size: part }
}
