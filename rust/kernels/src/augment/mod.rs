//! Random changes of uint8 images: flip, shift, crop, rotation, colour and cutout of each image by
//! itself, and mixup of the images of a batch.
//!
//! What happens to an image depends on the key and on its index in the batch alone. All arithmetic
//! is plain and in a fixed order, so every instruction set gives the same bits.

mod colour;
mod cutout;
mod draws;
mod mixup;
mod positions;
mod rotate;

use std::cell::RefCell;

use ndarray::{ArrayView4, ArrayViewMut4};

use crate::error::{KernelError, Result};
use crate::resize::{Region, pick};
use crate::scratch::{Free, lend};
use crate::threads::{chunks, chunks_mut, for_each};
use crate::view::{batch_of, slice, slice_mut};

use draws::Draws;
pub use mixup::mix;
use positions::Move;

thread_local! {
    static BYTES: Free<u8> = const { RefCell::new(Vec::new()) };
}

/// Height, width and channels of an image.
type Shape = [usize; 3];

/// What may happen to an image, in this order. Zeros, and 1 for `crop`, leave it as it is.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The smallest share of the area, in 0..=1, that a random crop keeps (Szegedy et al. 2015,
    /// "Going deeper with convolutions"); it is resized to the output. 1 keeps the whole image.
    pub crop: f64,
    /// Whether every second image is mirrored, left and right exchanged.
    pub flip: bool,
    /// The most output pixels that the image moves, up or down and left or right; the border
    /// reflects.
    pub shift: u32,
    /// The most degrees that the image turns about its centre, either way; the border reflects.
    pub rotate: f64,
    /// Pixels are multiplied with a factor from `1 - brightness` to `1 + brightness`.
    pub brightness: f32,
    /// Their difference from the mean grey of the image is, with such a factor.
    pub contrast: f32,
    /// The difference of each pixel from its own grey is.
    pub saturation: f32,
    /// Side of a grey square about a random pixel (DeVries and Taylor 2017, "Improved
    /// regularization of convolutional neural networks with cutout").
    pub cutout: u32,
}

/// Changes each image of a batch, as `key` and its index in the batch say.
///
/// `images` is (n, height, width, channels), `out` the same with any height and width: images of
/// another size are resized.
///
/// # Errors
/// Shapes that do not go together or are empty, gaps in an array, colour for images that have
/// neither 1 nor 3 channels, saturation for images of 1.
pub fn augment(
    plan: &Plan,
    images: ArrayView4<'_, u8>,
    key: u64,
    mut out: ArrayViewMut4<'_, u8>,
) -> Result<()> {
    let (count, height, width, channels) = images.dim();
    let (_, out_height, out_width, _) = out.dim();
    let (input, output) = ([height, width, channels], [out_height, out_width, channels]);
    let images = slice("images", &images, &batch_of(count, input))?;
    let out = slice_mut("out", &mut out, &batch_of(count, output))?;
    for (argument, shape) in [("images", input), ("out", output)] {
        if shape.contains(&0) {
            return Err(KernelError::Zero { argument });
        }
    }
    plan.check(channels)?;
    let sizes = (input.iter().product(), output.iter().product());
    for_each((chunks(images, sizes.0), chunks_mut(out, sizes.1)), |index, (image, out)| {
        let draws = Draws::new(plan, key, index as u64, input, output);
        change(plan, &draws, (image, input), (out, output));
    });
    Ok(())
}

impl Plan {
    fn check(&self, channels: usize) -> Result<()> {
        let factors = [
            ("brightness", self.brightness, &[1, 3][..]),
            ("contrast", self.contrast, &[1, 3]),
            ("saturation", self.saturation, &[3]),
        ];
        for (argument, range, expected) in factors {
            if range != 0.0 && !expected.contains(&channels) {
                return Err(KernelError::Channels { argument, expected, got: channels });
            }
        }
        Ok(())
    }

    fn colours(&self) -> bool {
        self.brightness != 0.0 || self.contrast != 0.0 || self.saturation != 0.0
    }
}

/// Changes one image.
fn change(
    plan: &Plan,
    draws: &Draws,
    (image, input): (&[u8], Shape),
    (out, output): (&mut [u8], Shape),
) {
    let resizes = plan.crop < 1.0 || input != output;
    match (resizes, plan.rotate != 0.0) {
        (false, false) => positions::with(draws.moves, output, |positions| {
            positions::copy(image, output, positions, out);
        }),
        (true, false) => positions::with(draws.moves, output, |positions| {
            let (rows, columns) = (positions.rows.iter(), positions.columns.iter());
            pick((image, input), draws.region, rows.copied(), columns.copied(), out);
        }),
        (false, true) => rotate::rotate(image, output, draws.angle, draws.moves, out),
        // Not in one pass: that would take single pixels of an image that shrinks.
        (true, true) => lend(&BYTES, out.len(), |resized| {
            pick((image, input), draws.region, 0..output[0], 0..output[1], resized);
            rotate::rotate(resized, output, draws.angle, draws.moves, out);
        }),
    }
    if plan.colours() {
        match output[2] {
            1 => colour::change::<1>(out, output[1], draws.factors),
            _ => colour::change::<3>(out, output[1], draws.factors),
        }
    }
    if plan.cutout > 0 {
        cutout::cut(out, output, draws.centre, plan.cutout as usize);
    }
}
