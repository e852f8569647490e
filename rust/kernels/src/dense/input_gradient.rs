//! `dx = grad weight^T`, a block of input features at a time.
//!
//! As a product with lanes along the images, the rows of the weights are read as they lie; its
//! result is transposed on the way out. A few images fill no vector, and behind a ReLU many elements
//! are zero: then each of the others is a dot product.

use super::dots::Dots;
use crate::matmul::{Finish, Left, Product, Start, lists_pay};
use crate::scratch;
use crate::simd::{Ahead, dispatch};
use crate::threads::{TileMut, for_each, tiles_mut};
use crate::transpose::transpose;

/// Input features that one task takes.
const FEATURES: usize = 128;
/// Images from which on lanes run along them.
const IMAGES: usize = 8;

/// Overwrites `dx`. `rectified` is the input of the layer, where a ReLU made it: where it is zero, `dx`
/// need not be computed.
pub(super) fn overwrite(
    grad: &[f32],
    weight: &[f32],
    rectified: Option<&[f32]>,
    (inputs, outputs): (usize, usize),
    dx: &mut [f32],
) {
    let batch = dx.len() / inputs;
    let tiles = |dx| tiles_mut(dx, inputs, batch.max(1), FEATURES);
    let pays = |x| lists_pay(x, inputs, (batch, inputs), outputs);
    if batch < IMAGES || rectified.is_some_and(pays) {
        for_each(tiles(dx), |block, dx| {
            let weight = &weight[block * FEATURES * outputs..];
            let rectified = rectified.map(|x| (&x[block * FEATURES..], inputs));
            dispatch(Dots { grad, weight, outputs, rectified, dx });
        });
        return;
    }
    let rows_of = |block: usize| weight.chunks(FEATURES * outputs).nth(block).unwrap_or(&[]);
    scratch::with(outputs * batch, |columns| {
        transpose(grad, outputs, TileMut::new(columns, batch));
        let columns = &*columns;
        for_each(tiles(dx), |block, mut dx| {
            let features = dx.columns();
            let ahead = Ahead::new().with(rows_of(block + 1)).with_rows(
                dx.as_mut_ptr(),
                batch,
                (features, inputs),
            );
            scratch::with(features * batch, |product| {
                Product {
                    runs: 1,
                    run_length: outputs,
                    left: Left { data: rows_of(block), row: outputs, run: 0, step: 1 },
                    right: columns,
                    right_row: batch,
                    start: Start::Zero,
                    finish: Finish::Store,
                    out: TileMut::new(product, batch),
                    ahead,
                }
                .compute();
                transpose(product, batch, dx.reborrow());
            });
        });
    });
}
