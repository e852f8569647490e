//! Sums over the images of a batch, in an order that does not depend on the number of threads.

use crate::scratch;
use crate::threads::{chunks_mut, for_each};

/// Into how many groups of images, at most, a sum is cut.
const GROUPS: usize = 16;

/// Adds element by element.
pub(crate) fn add(sums: &mut [f32], values: &[f32]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value;
    }
}

/// Sums `size` floats over the images `0..batch` and hands the sums to `finish`.
///
/// `add_image` adds one image's share. The images of a group, a number that depends on the batch
/// alone, are added in turn, the groups side by side, and their sums in order.
pub(crate) fn over_images(
    batch: usize,
    size: usize,
    add_image: impl Fn(usize, &mut [f32]) + Sync,
    finish: impl FnOnce(&[f32]),
) {
    let group = batch.div_ceil(GROUPS).max(1);
    let groups = batch.div_ceil(group).max(1);
    scratch::with(groups * size, |partials| {
        for_each(chunks_mut(partials, size), |index, partial| {
            partial.fill(0.0);
            for image in index * group..((index + 1) * group).min(batch) {
                add_image(image, partial);
            }
        });
        let (sums, rest) = partials.split_at_mut(size);
        for partial in rest.chunks_exact(size) {
            add(sums, partial);
        }
        finish(sums);
    });
}
