//! The working memory of a band.

use super::{GAP, INPUTS, OUTPUTS, PANEL, PLANES, POOLED};
use crate::conv::bands::Bands;
use crate::geometry::BlockGeometry;

/// Floats of each array that a band works with.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    /// The transformed filters of a panel.
    pub panel: usize,
    /// A row of the padded band.
    pub row: usize,
    pub padded: usize,
    pub columns: usize,
    pub inputs: usize,
    pub products: usize,
}

pub(super) struct Memory<'a> {
    /// The rows of the band with zeros around them.
    pub padded: &'a mut [f32],
    /// Six rows of it, transformed vertically.
    pub columns: &'a mut [f32],
    /// (plane, tile, in_channel).
    pub inputs: &'a mut [f32],
    /// (plane, tile, channel of the panel).
    pub products: &'a mut [f32],
}

impl Sizes {
    pub fn new(geometry: &BlockGeometry, columns: usize, bands: &Bands) -> Self {
        let channels = geometry.conv.in_channels;
        let row = (OUTPUTS * columns + INPUTS - OUTPUTS) * channels;
        let (images, rows) = bands.largest();
        let tile_rows = rows.div_ceil(POOLED);
        let tiles = images * tile_rows * columns;
        Self {
            panel: PLANES * (channels * PANEL + GAP),
            row,
            padded: ((OUTPUTS * tile_rows + INPUTS - OUTPUTS) * row + GAP).next_multiple_of(GAP),
            columns: INPUTS * row.next_multiple_of(GAP),
            inputs: PLANES * (tiles * channels + GAP),
            products: PLANES * (tiles * PANEL + GAP),
        }
    }

    pub fn memory(&self) -> usize {
        self.padded + self.columns + self.inputs + self.products
    }

    pub fn split<'a>(&self, memory: &'a mut [f32]) -> Memory<'a> {
        let (padded, rest) = memory.split_at_mut(self.padded);
        let (columns, rest) = rest.split_at_mut(self.columns);
        let (inputs, products) = rest.split_at_mut(self.inputs);
        Memory { padded, columns, inputs, products }
    }
}
