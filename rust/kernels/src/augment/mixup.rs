//! Means of pairs of images.

use ndarray::ArrayViewMut4;

use super::BYTES;
use crate::error::Result;
use crate::pixel::byte;
use crate::scratch::lend;
use crate::threads::{for_each, tiles_mut};
use crate::view::{batch_of, check_indices, check_length, slice_mut};

/// Bytes of each image that one task takes: those of a batch stay in the second-level cache.
const BLOCK: usize = 1 << 11;

/// Mixup (Zhang et al. 2018, "mixup: beyond empirical risk minimization"), in place: image i
/// becomes `lambdas[i]` of itself and `1 - lambdas[i]` of what image `partners[i]` was.
///
/// # Errors
/// Partners or lambdas of another number than images, or partners outside the batch.
pub fn mix(mut images: ArrayViewMut4<'_, u8>, partners: &[i64], lambdas: &[f32]) -> Result<()> {
    let (count, height, width, channels) = images.dim();
    let shape = [height, width, channels];
    let images = slice_mut("images", &mut images, &batch_of(count, shape))?;
    check_length("partners", partners.len(), count)?;
    check_length("lambdas", lambdas.len(), count)?;
    check_indices("partners", partners, count)?;
    let size = height * width * channels;
    if images.is_empty() {
        return Ok(());
    }
    for_each(tiles_mut(images, size, count, BLOCK), |_, mut tile| {
        let columns = tile.columns();
        lend(&BYTES, count * columns, |before| {
            for (row, before) in before.chunks_exact_mut(columns).enumerate() {
                before.copy_from_slice(tile.row(row));
            }
            for (row, (&partner, &lambda)) in partners.iter().zip(lambdas).enumerate() {
                let partner = &before[partner as usize * columns..][..columns];
                for (own, &other) in tile.row(row).iter_mut().zip(partner) {
                    *own = byte(lambda * f32::from(*own) + (1.0 - lambda) * f32::from(other));
                }
            }
        });
    });
    Ok(())
}
