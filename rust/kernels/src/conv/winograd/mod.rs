//! The block forward by minimal filtering, F(4x4, 3x3) (Winograd 1980; Lavin and Gray 2016).
//!
//! Four by four outputs of a 3x3 convolution take 36 products instead of 144, in another basis:
//!
//! ```text
//! Y = A^T ((G g G^T) * (B^T d B)) A
//! ```
//!
//! with g the filter, d the 6x6 inputs under the tile and * element by element. Summed over the
//! input channels, each of the 36 places ("planes") is a matrix product, tiles by filters. A tile
//! is also two by two windows of the pool, so the last transform, bias, pool and what comes after it are one
//! pass, and the full-resolution output never exists.
//!
//! The transforms are not free of rounding: against float64 the error is two to three and a half times that
//! of the direct sum (docs/architecture.md; tests/block.rs has a bound). A NaN or an infinity
//! reaches every output of its tile, not only those whose window holds it.

mod backward;
mod band;
mod few_channels;
mod filter_gradient;
mod filters;
mod forward;
mod grads;
mod inputs;
mod memory;
mod outputs;
mod product;
mod scatter;
mod transforms;

pub(super) use backward::{Grad, Layer, backward, serves};
pub use filters::Filters;
pub(super) use forward::{conv, conv_pool};

use crate::geometry::ConvGeometry;

/// Places of a transformed tile.
const PLANES: usize = INPUTS * INPUTS;
/// Side of the inputs under a tile.
const INPUTS: usize = 6;
/// Side of a tile in outputs, and in pooled outputs.
const OUTPUTS: usize = 4;
const POOLED: usize = 2;
/// Output channels whose products are made together; a last panel may be half as wide.
const PANEL: usize = 32;
const HALF_PANEL: usize = 16;
/// Floats between planes: planes a power of two apart would share one cache set.
const GAP: usize = 16;
/// Tiles of a band, about: so many share one pass over the transformed filters.
const TILES: usize = 24;

/// Whether this algorithm serves the geometry forward, and is the faster one
/// (docs/architecture.md).
pub(super) fn suits(conv: &ConvGeometry) -> bool {
    is_3x3(conv) && (conv.in_channels >= 8 || has_few_channels(conv))
}

/// Whether forward goes by `few_channels`: over a single channel the direct sum is faster.
fn has_few_channels(conv: &ConvGeometry) -> bool {
    (2..=4).contains(&conv.in_channels)
}

/// A 3x3 kernel of stride 1.
fn is_3x3(conv: &ConvGeometry) -> bool {
    let axes = [&conv.height, &conv.width];
    axes.iter().all(|axis| axis.window == 3 && axis.stride == 1)
}

/// Channels of a panel, and those that it is rounded up to.
fn panel_width(channels: usize, first: usize) -> (usize, usize) {
    let width = (channels - first).min(PANEL);
    (width, width.next_multiple_of(HALF_PANEL))
}
