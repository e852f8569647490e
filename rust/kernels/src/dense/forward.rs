//! The output of a dense layer: a product of images and output features for each block of inputs, all
//! of them side by side, then their sums in order.
//!
//! So a thread reads the weights of its own blocks and no others, which are those that it updates
//! (`weight_gradient.rs`), and of each image the inputs that belong to them: what one core has written
//! and another reads is dear where they share no cache (docs/architecture.md). Behind a ReLU many inputs
//! are zero, and where the weights are finite their products may be left out. An image that is computed
//! alone always leaves them out, as the time of its product is that of reading the weights. The sums have
//! the same terms in the same order, but for zeros, so that all bits are the same but for the sign of
//! zero, which is made positive.

use std::ops::Range;

use crate::activation;
use crate::matmul::{Finish, LONGEST_LIST, Left, Product, Start};
use crate::scratch;
use crate::simd::Ahead;
use crate::sums::total;
use crate::threads::{self, TileMut, bands_mut, chunks_mut, for_each, starts_share};

/// Images of a tile: a multiple of the one, the other at most.
const IMAGES: usize = 16;
const MOST_IMAGES: usize = 64;
/// Tiles for each thread, if there are so many.
const TURNS: usize = 4;
/// Inputs of a block. The sum over a block starts at 0, that over the first at the bias, and blocks
/// are added in order; at 128 columns its weights are 256 KB, and stay in the second-level cache
/// for all images of a tile, beside the next, which come meanwhile.
const DEPTH: usize = LONGEST_LIST;
/// Floats of the sums of all blocks for each thread, about, which are to stay in its second-level
/// cache: of so many images at a time, and `MOST_IMAGES` at least, since all weights are read for them.
const SUMS: usize = 1 << 16;
/// Outputs that one task adds up and takes through the activation.
const VALUES: usize = 1 << 11;

/// Of a layer: what it does beside the product.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    /// Whether a ReLU follows.
    pub relu: bool,
    /// Whether all weights are known to be finite.
    pub finite: bool,
}

/// Overwrites `out`.
pub(crate) fn overwrite(
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    (inputs, outputs): (usize, usize),
    kind: Kind,
    out: &mut [f32],
) {
    let (blocks, threads) = (inputs.div_ceil(DEPTH), threads::threads().unwrap_or(1));
    let images = (SUMS * threads / blocks / outputs).max(MOST_IMAGES);
    let affine = Affine { weight, bias, features: (inputs, outputs), finite: kind.finite, threads };
    for (x, out) in x.chunks(images * inputs).zip(out.chunks_mut(images * outputs)) {
        let size = out.len();
        scratch::with(blocks * size, |sums| {
            affine.multiply(x, sums);
            for_each(chunks_mut(out, VALUES), |index, values| {
                total(sums, size, index * VALUES, values);
                if kind.relu {
                    values.iter_mut().for_each(activation::relu_of);
                } else {
                    values.iter_mut().for_each(|value| *value += 0.0);
                }
            });
        });
    }
}

struct Affine<'a> {
    weight: &'a [f32],
    bias: Option<&'a [f32]>,
    /// Inputs and outputs.
    features: (usize, usize),
    finite: bool,
    threads: usize,
}

impl Affine<'_> {
    /// Overwrites `sums`, (block of inputs, image, output).
    fn multiply(&self, x: &[f32], sums: &mut [f32]) {
        let (inputs, outputs) = self.features;
        let (batch, blocks) = (x.len() / inputs, inputs.div_ceil(DEPTH));
        let images = batch.div_ceil((TURNS * self.threads).div_ceil(blocks));
        let images = images.next_multiple_of(IMAGES).min(MOST_IMAGES);
        let tiles = batch.div_ceil(images);
        for_each(bands_mut(sums, batch * outputs, images * outputs), |index, sums| {
            let part = |index: usize| {
                let (first, image) = (index / tiles * DEPTH, index % tiles * images);
                (first..inputs.min(first + DEPTH), image..batch.min(image + images))
            };
            // Not what another thread starts with: it would have to take the lines back.
            let (next, turns) = (index + 1, blocks * tiles);
            let mine = next < turns && !starts_share(next, turns, self.threads);
            let next = mine.then(|| part(next));
            self.multiply_block(x, part(index), next, sums);
        });
    }

    /// The sums of a part, some inputs and images, while the `next` is asked for.
    fn multiply_block(
        &self,
        x: &[f32],
        (depth, images): (Range<usize>, Range<usize>),
        next: Option<(Range<usize>, Range<usize>)>,
        sums: &mut [f32],
    ) {
        let (inputs, outputs) = self.features;
        let mut ahead = Ahead::new();
        // The product of a few images is no more than reading the weights, and leaves no time to ask
        // for more.
        if let Some((next, others)) = next.filter(|_| images.len() >= IMAGES) {
            let x = &x[others.start * inputs + next.start..];
            ahead = ahead.with_rows(x.as_ptr(), others.len(), (next.len(), inputs));
            if next != depth {
                ahead = ahead.with(&self.weight[next.start * outputs..next.end * outputs]);
            }
        }
        let bias = self.bias.filter(|_| depth.start == 0);
        let product = Product {
            runs: 1,
            run_length: depth.len(),
            left: Left {
                data: &x[images.start * inputs + depth.start..],
                row: inputs,
                run: 0,
                step: 1,
            },
            right: &self.weight[depth.start * outputs..],
            right_row: outputs,
            start: bias.map_or(Start::Zero, Start::Bias),
            finish: Finish::Store,
            out: TileMut::new(sums, outputs),
            ahead,
        };
        if x.len() == inputs && self.finite {
            product.compute_alone();
        } else {
            product.compute_sparse(self.finite);
        }
    }
}
