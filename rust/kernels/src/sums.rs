//! Sums over a batch, in an order that does not depend on the number of threads.

use std::ops::Range;

use crate::scratch;
use crate::threads::{chunks_mut, for_each};

/// Into how many groups, at most, a sum is cut, and how many floats their sums may take together.
pub(crate) const GROUPS: usize = 8;
const FLOATS: usize = 1 << 23;
/// Sums that are worth a task of their own.
const BLOCK: usize = 1 << 13;

/// Adds element by element.
#[inline(always)]
pub(crate) fn add(sums: &mut [f32], values: &[f32]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value;
    }
}

/// Sums `size` floats over the terms `0..count` and hands `finish` the partial sums, one behind the
/// other, to be added in that order.
///
/// `add_terms` adds the terms of a range to zeros. Each group is a range, a number of terms that
/// depends on `count` and `size` alone; the groups are added side by side.
pub(crate) fn in_groups(
    count: usize,
    size: usize,
    add_terms: impl Fn(Range<usize>, &mut [f32]) + Sync,
    finish: impl FnOnce(&[f32]),
) {
    let groups = (FLOATS / size.max(1)).clamp(2, GROUPS);
    let group = count.div_ceil(groups).max(1);
    let groups = count.div_ceil(group).max(1);
    scratch::with(groups * size, |partials| {
        for_each(chunks_mut(partials, size), |index, partial| {
            partial.fill(0.0);
            add_terms(index * group..count.min((index + 1) * group), partial);
        });
        finish(partials);
    });
}

/// The sums of `partials`, each as long as `first` and `second` together, which are overwritten.
pub(crate) fn totals(partials: &[f32], first: &mut [f32], second: &mut [f32]) {
    let (size, behind) = (first.len() + second.len(), first.len());
    let blocks = chunks_mut(first, BLOCK);
    for_each(blocks, |index, sums| total(partials, size, index * BLOCK, sums));
    total(partials, size, behind, second);
}

/// Of `partials` of `size` floats, the sums of those from `start` on, as many as `sums` takes.
pub(crate) fn total(partials: &[f32], size: usize, start: usize, sums: &mut [f32]) {
    for (index, partial) in partials.chunks_exact(size).enumerate() {
        let values = &partial[start..][..sums.len()];
        if index == 0 { sums.copy_from_slice(values) } else { add(sums, values) }
    }
}
