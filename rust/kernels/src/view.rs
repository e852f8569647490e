//! From array views to slices, once the shape has been checked.

use ndarray::{ArrayView, ArrayViewMut, Dimension};

use crate::error::{KernelError, Result};

fn check_shape(argument: &'static str, got: &[usize], expected: &[usize]) -> Result<()> {
    if got == expected {
        return Ok(());
    }
    Err(KernelError::Shape { argument, expected: expected.to_vec(), got: got.to_vec() })
}

/// Flat arrays that go together must be equally long.
pub(crate) fn check_length(argument: &'static str, got: usize, expected: usize) -> Result<()> {
    check_shape(argument, &[got], &[expected])
}

/// Each index must be one of `count` images.
pub(crate) fn check_indices(argument: &'static str, indices: &[i64], count: usize) -> Result<()> {
    let outside = |&&index: &&i64| !(0..count as i64).contains(&index);
    match indices.iter().find(outside) {
        Some(&got) => Err(KernelError::Index { argument, got, count }),
        None => Ok(()),
    }
}

/// The sizes of a (batch, classes) array, which must have classes.
pub(crate) fn check_classes(
    argument: &'static str,
    (batch, classes): (usize, usize),
) -> Result<(usize, usize)> {
    if classes == 0 {
        return Err(KernelError::Zero { argument });
    }
    Ok((batch, classes))
}

/// The elements of `view`, which must have this shape and be C-contiguous.
pub(crate) fn slice<'a, T, D: Dimension>(
    argument: &'static str,
    view: &'a ArrayView<'_, T, D>,
    expected: &[usize],
) -> Result<&'a [T]> {
    check_shape(argument, view.shape(), expected)?;
    view.as_slice().ok_or(KernelError::NotContiguous { argument })
}

/// As [`slice`], for writing.
pub(crate) fn slice_mut<'a, T, D: Dimension>(
    argument: &'static str,
    view: &'a mut ArrayViewMut<'_, T, D>,
    expected: &[usize],
) -> Result<&'a mut [T]> {
    check_shape(argument, view.shape(), expected)?;
    view.as_slice_mut().ok_or(KernelError::NotContiguous { argument })
}

/// The shape of `count` images.
pub(crate) fn batch_of(count: usize, [height, width, channels]: [usize; 3]) -> [usize; 4] {
    [count, height, width, channels]
}
