//! The working memory of a band.

use super::forward::Frame;
use super::inputs::{columns_size, padded_size};
use super::{GAP, PANEL, PLANES};
use crate::conv::bands::Bands;

/// Floats of each array that a band works with.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    /// The transformed filters of a panel.
    pub panel: usize,
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
    pub fn new(frame: &Frame, bands: &Bands) -> Self {
        let Frame { conv, side, columns, .. } = *frame;
        let channels = conv.in_channels;
        let (images, rows) = bands.largest();
        let grid = (rows.div_ceil(side), columns);
        let tiles = images * grid.0 * grid.1;
        Self {
            panel: panel_size(channels),
            padded: padded_size(conv, grid),
            columns: columns_size(conv, columns),
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

/// Floats of the transformed filters of a panel over so many input channels.
pub(super) fn panel_size(channels: usize) -> usize {
    PLANES * (channels * PANEL + GAP)
}
