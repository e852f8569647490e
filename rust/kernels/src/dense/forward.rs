//! The output of a dense layer: a product in tiles of images by output features, a block of inputs at
//! a time. Behind a ReLU many inputs are zero, and where the weights are finite their products may be
//! left out. An image that is alone always leaves them out, as the time of its product is that of
//! reading the weights. The sums have the same terms in the same order, but for zeros, so that all
//! bits are the same but for the sign of zero, which is made positive.

use crate::activation;
use crate::matmul::{Finish, LONGEST_LIST, Left, Product, Start, lists_pay};
use crate::scratch;
use crate::simd::Ahead;
use crate::sums::total;
use crate::threads::{self, TileMut, chunks, chunks_mut, for_each, tiles_mut};

/// Images of a tile at least and at most. Each tile reads its weights from memory once more, so it has
/// as many as leave work for all threads.
const IMAGES: usize = 16;
const MOST_IMAGES: usize = 64;
/// Output features of a tile at least, a whole number of vectors.
const FEATURES: usize = 32;
/// Outputs that one task takes through the activation.
const VALUES: usize = 1 << 13;
/// Inputs of a block. The sum over a block starts at 0, that over the first at the bias, and blocks
/// are added in order; at 128 columns its weights are 256 KB, and stay in the second-level cache
/// for all images of a tile, beside the next, which come meanwhile.
const DEPTH: usize = LONGEST_LIST;

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
    let batch = x.len() / inputs;
    if batch == 1 && kind.finite {
        single(x, weight, bias, outputs, out);
    } else {
        let threads = threads::threads().unwrap_or(1);
        let sparse = kind.finite && lists_pay(x, inputs, (batch.min(1), inputs), outputs);
        let columns = columns(batch, outputs, threads, sparse);
        let per_image = outputs.div_ceil(columns);
        let images = batch.div_ceil(threads.div_ceil(per_image));
        let images = images.next_multiple_of(IMAGES).clamp(IMAGES, MOST_IMAGES);
        for_each(tiles_mut(out, outputs, images, columns), |index, out| {
            let first = index % per_image * columns;
            let x = &x[index / per_image * images * inputs..][..out.rows() * inputs];
            let bias = bias.map(|bias| &bias[first..][..out.columns()]);
            multiply(x, &weight[first..], bias, (inputs, outputs), kind.finite, out);
        });
    }
    for_each(chunks_mut(out, VALUES), |_, values| {
        if kind.relu {
            values.iter_mut().for_each(activation::relu_of);
        } else {
            values.iter_mut().for_each(|value| *value += 0.0);
        }
    });
}

/// Output features of a tile. Threads share them where they come out even, so that no two read the same
/// weights; but where zeros are left out, all features of an image have one list.
fn columns(batch: usize, outputs: usize, threads: usize, sparse: bool) -> usize {
    let crowded = batch.div_ceil(IMAGES) >= threads;
    let parts = threads.min(outputs / FEATURES).max(1);
    if outputs.is_multiple_of(parts * FEATURES) && !(sparse && crowded) {
        outputs / parts
    } else if crowded {
        outputs
    } else {
        FEATURES.min(outputs)
    }
}

fn multiply(
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    (inputs, outputs): (usize, usize),
    finite: bool,
    mut out: TileMut<f32>,
) {
    for first in (0..inputs).step_by(DEPTH) {
        // The next block of both. The product of a few images is no more than reading the weights, and
        // leaves no time to ask for more.
        let next = first + DEPTH;
        let few = out.rows() < IMAGES;
        let depth = if few { 0 } else { DEPTH.min(inputs.saturating_sub(next)) };
        let ahead = Ahead::new()
            .with_rows(x.as_ptr().wrapping_add(next), out.rows(), (depth, inputs))
            .with_rows(
                weight.as_ptr().wrapping_add(next * outputs),
                depth,
                (out.columns(), outputs),
            );
        Product {
            runs: 1,
            run_length: DEPTH.min(inputs - first),
            left: Left { data: &x[first..], row: inputs, run: 0, step: 1 },
            right: &weight[first * outputs..],
            right_row: outputs,
            start: match (first, bias) {
                (0, Some(bias)) => Start::Bias(bias),
                _ => Start::Zero,
            },
            finish: if first == 0 { Finish::Store } else { Finish::Add },
            out: out.reborrow(),
            ahead,
        }
        .compute_sparse(finite);
    }
}

/// The product for one image: the blocks side by side, then their sums in order.
fn single(x: &[f32], weight: &[f32], bias: Option<&[f32]>, outputs: usize, out: &mut [f32]) {
    scratch::with(x.len().div_ceil(DEPTH) * outputs, |sums| {
        let blocks = (chunks(x, DEPTH), chunks(weight, DEPTH * outputs), chunks_mut(sums, outputs));
        for_each(blocks, |index, (x, weight, sums)| {
            let bias = bias.filter(|_| index == 0);
            Product {
                runs: 1,
                run_length: x.len(),
                left: Left { data: x, row: x.len(), run: 0, step: 1 },
                right: weight,
                right_row: outputs,
                start: bias.map_or(Start::Zero, Start::Bias),
                finish: Finish::Store,
                out: TileMut::new(sums, outputs),
                ahead: Ahead::new(),
            }
            .compute_alone();
        });
        total(sums, out);
    });
}
