//! The images of a batch, copied out of all.

use ndarray::{ArrayView4, ArrayViewMut4};

use crate::error::Result;
use crate::threads::{chunks_mut, for_each};
use crate::view::{batch_of, check_indices, slice, slice_mut};

/// Overwrites image i of `out` with image `indices[i]`. Each thread copies what it has the next layer
/// read: a kernel over images deals out its turns as this one does.
///
/// # Errors
/// Arrays of other shapes or with gaps; an index beyond the images.
pub fn gather(images: ArrayView4<u8>, indices: &[i64], mut out: ArrayViewMut4<u8>) -> Result<()> {
    let (count, height, width, channels) = images.dim();
    let shape = [height, width, channels];
    let images = slice("images", &images, &batch_of(count, shape))?;
    let out = slice_mut("out", &mut out, &batch_of(indices.len(), shape))?;
    check_indices("indices", indices, count)?;
    let size = height * width * channels;
    if size > 0 {
        for_each(chunks_mut(out, size), |turn, image| {
            image.copy_from_slice(&images[indices[turn] as usize * size..][..size]);
        });
    }
    Ok(())
}
