//! The weight gradient of the block: with g a live element of the pooled gradient, f its channel
//! and (y, x) where its winner's window starts, `dweight[:, :, :, f] += g * x[y.., x.., :]`.
//!
//! `listed` sums over the live elements alone, `broadcast` over all four places of each window,
//! with lanes along the output channels: four times the products, but no list and nothing that
//! depends on the data. Three floats of a pixel fill a fifth of a vector, so for the first layer
//! `broadcast` is the faster one; from 4 channels on it is `listed` (docs/architecture.md).

mod broadcast;
mod cut;
mod listed;
mod runs;

use super::block::Pooled;
use crate::pixel::Pixel;

/// Input channels from which on `listed` is the faster one.
const LISTED: usize = 4;

/// Overwrites `dweight` and `dbias`.
pub(super) fn overwrite<T: Pixel>(pooled: Pooled, x: &[T], dweight: &mut [f32], dbias: &mut [f32]) {
    if pooled.geometry.conv.in_channels < LISTED {
        broadcast::overwrite(pooled, x, dweight, dbias);
    } else {
        listed::overwrite(pooled, x, dweight, dbias);
    }
}
