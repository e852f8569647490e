//! The matrix products of the planes.

use super::{GAP, PLANES};
use crate::simd::{Ahead, Simd};

/// Fills `products`, (plane, tile, channel of the panel), from `inputs`, (plane, tile, depth), and
/// the `filters` of a panel, (plane, depth, channel). The sizes are (tiles, depth, width). A part of
/// what is `ahead` is asked for with each plane.
#[inline(always)]
pub(super) fn multiply<S: Simd>(
    simd: S,
    (tiles, depth, width): (usize, usize, usize),
    inputs: &[f32],
    filters: &[f32],
    products: &mut [f32],
    ahead: &mut Ahead,
) {
    for plane in 0..PLANES {
        ahead.ask(simd);
        let inputs = &inputs[plane * (tiles * depth + GAP)..][..tiles * depth];
        let filters = &filters[plane * (depth * width + GAP)..][..depth * width];
        let products = &mut products[plane * (tiles * width + GAP)..][..tiles * width];
        let product = Plane { depth, width, inputs, filters, products };
        match S::LANES {
            16 => product.cover::<S, 8>(simd),
            8 => product.cover::<S, 6>(simd),
            _ => product.cover::<S, 4>(simd),
        }
    }
}

/// The product of one plane: `products[t][f]` is the sum over c of
/// `inputs[t][c] * filters[c][f]`, f below `width`.
struct Plane<'a> {
    depth: usize,
    width: usize,
    inputs: &'a [f32],
    filters: &'a [f32],
    products: &'a mut [f32],
}

impl Plane<'_> {
    /// Cuts the product into pieces of `TILES` tiles by two vectors, and smaller ones at the edges.
    #[inline(always)]
    fn cover<S: Simd, const TILES: usize>(mut self, simd: S) {
        let mut f = 0;
        while f < self.width {
            if self.width - f >= 2 * S::LANES {
                self.cover_tiles::<S, TILES, 2>(simd, f);
                f += 2 * S::LANES;
            } else {
                self.cover_tiles::<S, TILES, 1>(simd, f);
                f += S::LANES;
            }
        }
    }

    #[inline(always)]
    fn cover_tiles<S: Simd, const TILES: usize, const NV: usize>(&mut self, simd: S, f: usize) {
        let tiles = self.inputs.len() / self.depth;
        let mut t = 0;
        while tiles - t >= TILES {
            self.piece::<S, TILES, NV>(simd, t, f);
            t += TILES;
        }
        while tiles - t >= 2 {
            self.piece::<S, 2, NV>(simd, t, f);
            t += 2;
        }
        if t < tiles {
            self.piece::<S, 1, NV>(simd, t, f);
        }
    }

    #[inline(always)]
    fn piece<S: Simd, const TILES: usize, const NV: usize>(&mut self, simd: S, t: usize, f: usize) {
        let (depth, width) = (self.depth, self.width);
        let inputs = &self.inputs[t * depth..][..TILES * depth];
        let filters = &self.filters[f..][..(depth - 1) * width + NV * S::LANES];
        let products = &mut self.products[t * width + f..][..(TILES - 1) * width + NV * S::LANES];
        // SAFETY: the slices are cut to what is addressed: `depth` floats of each tile, `NV`
        // vectors of each of the `depth` filter rows and of each tile's products.
        unsafe {
            let mut sums = [[simd.splat(0.0); NV]; TILES];
            let (mut input, mut filter) = (inputs.as_ptr(), filters.as_ptr());
            for _ in 0..depth {
                let mut vectors = [simd.splat(0.0); NV];
                for (v, lanes) in vectors.iter_mut().enumerate() {
                    *lanes = simd.load(filter.add(v * S::LANES));
                }
                for (tile, sums) in sums.iter_mut().enumerate() {
                    let factor = simd.splat(*input.add(tile * depth));
                    for v in 0..NV {
                        sums[v] = simd.mul_add(factor, vectors[v], sums[v]);
                    }
                }
                input = input.wrapping_add(1);
                filter = filter.wrapping_add(width);
            }
            for (tile, sums) in sums.iter().enumerate() {
                for (v, &lanes) in sums.iter().enumerate() {
                    simd.store(products.as_mut_ptr().add(tile * width + v * S::LANES), lanes);
                }
            }
        }
    }
}
