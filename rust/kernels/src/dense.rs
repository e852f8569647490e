//! Dense (fully connected, affine) layers.

use ndarray::{ArrayView1, ArrayView2, ArrayViewMut1, ArrayViewMut2};

use crate::error::{KernelError, Result};
use crate::matmul::{Left, Product, Start};
use crate::scratch;
use crate::sums::add;
use crate::threads::{chunks, chunks_mut, for_each};
use crate::view::{slice, slice_mut};

/// Images that one task of the forward pass takes.
const IMAGES: usize = 16;
/// Rows of the weights that are read for all images of a task before the next: at 128 columns
/// they are 256 KB, and stay in the second-level cache meanwhile.
const DEPTH: usize = 512;
/// Input features that one task of the backward pass takes.
const FEATURES: usize = 128;

/// `out = x weight + bias`.
///
/// `x` is (batch, in_features), `weight` (in_features, out_features), `bias` (out_features),
/// `out` (batch, out_features).
///
/// # Errors
/// Shapes that do not fit each other; no features.
pub fn dense(
    x: ArrayView2<f32>,
    weight: ArrayView2<f32>,
    bias: Option<ArrayView1<f32>>,
    mut out: ArrayViewMut2<f32>,
) -> Result<()> {
    let (inputs, outputs) = features(&weight)?;
    let batch = x.nrows();
    let x = slice("x", &x, &[batch, inputs])?;
    let weight = slice("weight", &weight, &[inputs, outputs])?;
    let bias = match &bias {
        Some(bias) => Some(slice("bias", bias, &[outputs])?),
        None => None,
    };
    let out = slice_mut("out", &mut out, &[batch, outputs])?;

    let tasks = (chunks(x, IMAGES * inputs), chunks_mut(out, IMAGES * outputs));
    for_each(tasks, |_, (x, out)| {
        for (block, weight) in weight.chunks(DEPTH * outputs).enumerate() {
            Product {
                rows: x.len() / inputs,
                columns: outputs,
                runs: 1,
                run_length: weight.len() / outputs,
                left: Left { data: &x[block * DEPTH..], row: inputs, run: 0, step: 1 },
                right: weight,
                start: match (block, bias) {
                    (0, None) => Start::Zero,
                    (0, Some(bias)) => Start::Bias(bias),
                    _ => Start::Out,
                },
                out: &mut *out,
                out_row: outputs,
            }
            .compute();
        }
    });
    Ok(())
}

/// The gradients of [`dense`]: overwrites `dx` (where asked for), `dweight` and `dbias`, shaped as
/// `x`, `weight` and `bias`, from `grad`, shaped as `out`.
///
/// # Errors
/// Shapes that do not fit each other; no features.
pub fn dense_backward(
    grad: ArrayView2<f32>,
    x: ArrayView2<f32>,
    weight: ArrayView2<f32>,
    mut dx: Option<ArrayViewMut2<f32>>,
    mut dweight: ArrayViewMut2<f32>,
    mut dbias: ArrayViewMut1<f32>,
) -> Result<()> {
    let (inputs, outputs) = features(&weight)?;
    let batch = x.nrows();
    let x = slice("x", &x, &[batch, inputs])?;
    let grad = slice("grad", &grad, &[batch, outputs])?;
    let weight = slice("weight", &weight, &[inputs, outputs])?;
    let dweight = slice_mut("dweight", &mut dweight, &[inputs, outputs])?;
    let dbias = slice_mut("dbias", &mut dbias, &[outputs])?;
    let dx = match &mut dx {
        Some(dx) => Some(slice_mut("dx", dx, &[batch, inputs])?),
        None => None,
    };

    dbias.fill(0.0);
    for row in grad.chunks_exact(outputs) {
        add(dbias, row);
    }
    if batch == 0 {
        dweight.fill(0.0);
        return Ok(());
    }
    weight_gradient(grad, x, (inputs, outputs), dweight);
    if let Some(dx) = dx {
        input_gradient(grad, weight, (inputs, outputs), dx);
    }
    Ok(())
}

fn features(weight: &ArrayView2<f32>) -> Result<(usize, usize)> {
    match weight.dim() {
        (0, _) => Err(KernelError::Zero { argument: "in_features" }),
        (_, 0) => Err(KernelError::Zero { argument: "out_features" }),
        dim => Ok(dim),
    }
}

/// `dweight = x^T grad`, a block of input features at a time.
fn weight_gradient(
    grad: &[f32],
    x: &[f32],
    (inputs, outputs): (usize, usize),
    dweight: &mut [f32],
) {
    let batch = x.len() / inputs;
    for_each(chunks_mut(dweight, FEATURES * outputs), |block, dweight| {
        let first = block * FEATURES;
        let count = dweight.len() / outputs;
        // A column of x lies in steps of a power of two, which all fall into one cache set:
        // transposed first, it is contiguous.
        scratch::with(count * batch, |columns| {
            transpose(&x[first..], inputs, batch, count, columns);
            Product {
                rows: count,
                columns: outputs,
                runs: 1,
                run_length: batch,
                left: Left { data: columns, row: batch, run: 0, step: 1 },
                right: grad,
                start: Start::Zero,
                out: dweight,
                out_row: outputs,
            }
            .compute();
        });
    });
}

/// `dx = grad weight^T`, a block of input features at a time.
fn input_gradient(grad: &[f32], weight: &[f32], (inputs, outputs): (usize, usize), dx: &mut [f32]) {
    // Each task writes a block of columns of dx, which slices cannot express: it fills a
    // contiguous block of its own, and the blocks are then dealt out to the rows.
    let batch = dx.len() / inputs;
    scratch::with(dx.len(), |blocks| {
        let tasks = (chunks_mut(blocks, FEATURES * batch), chunks(weight, FEATURES * outputs));
        for_each(tasks, |_, (block, weight)| {
            let count = weight.len() / outputs;
            scratch::with(weight.len(), |columns| {
                transpose(weight, outputs, count, outputs, columns);
                Product {
                    rows: batch,
                    columns: count,
                    runs: 1,
                    run_length: outputs,
                    left: Left { data: grad, row: outputs, run: 0, step: 1 },
                    right: columns,
                    start: Start::Zero,
                    out: block,
                    out_row: count,
                }
                .compute();
            });
        });
        let blocks = &*blocks;
        for_each(chunks_mut(dx, inputs), |image, row| {
            let parts = row.chunks_mut(FEATURES).zip(blocks.chunks(FEATURES * batch));
            for (part, block) in parts {
                part.copy_from_slice(&block[image * part.len()..][..part.len()]);
            }
        });
    });
}

/// `out[c][r] = source[r * stride + c]` for `rows` by `columns`.
///
/// A square at a time: the rows of a whole power of two fall into few cache sets and would push
/// each other out.
fn transpose(source: &[f32], stride: usize, rows: usize, columns: usize, out: &mut [f32]) {
    const SIDE: usize = 16;
    for top in (0..rows).step_by(SIDE) {
        let bottom = (top + SIDE).min(rows);
        for left in (0..columns).step_by(SIDE) {
            for c in left..(left + SIDE).min(columns) {
                let targets = &mut out[c * rows..][top..bottom];
                for (target, row) in targets.iter_mut().zip(top..bottom) {
                    *target = source[row * stride + c];
                }
            }
        }
    }
}
