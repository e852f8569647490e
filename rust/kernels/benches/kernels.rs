//! Single kernels at the shapes of the networks that `benches/` races, 64 images a call.
//!
//!     cargo bench -p ferrocnn-kernels [FILTER]
//!
//! The counter is that of the dense computation, two operations a multiply-add: "Gitem/s" are
//! GFLOP/s, and a kernel that skips products can exceed the peak of the machine.

#[path = "../tests/common/mod.rs"]
mod common;

use common::values;
use divan::Bencher;
use divan::counter::ItemsCount;
use ferrocnn_kernels::conv::{After, conv_pool, conv_pool_backward};
use ferrocnn_kernels::dense::{dense, dense_backward, dense_update};
use ferrocnn_kernels::optimizer::{Rate, Rule};
use ferrocnn_kernels::{BlockGeometry, Padding};
use ndarray::{Array1, Array2, Array4};

const BATCH: usize = 64;

/// (height and width, channels, filters) of the blocks. Those of the reference network are the
/// first of the deep one.
const BLOCKS: [(usize, usize, usize); 8] = [
    (64, 3, 16),
    (32, 16, 32),
    (16, 32, 64),
    (8, 64, 128),
    (64, 3, 32),
    (32, 32, 64),
    (16, 64, 128),
    (8, 128, 256),
];

/// (inputs, outputs) of the first dense layer of the reference, the deep and the wide network.
const LAYERS: [(usize, usize); 3] = [(8192, 128), (2048, 128), (4096, 256)];

fn main() {
    divan::main();
}

#[divan::bench(args = BLOCKS)]
fn conv_forward(bencher: Bencher<'_, '_>, block: (usize, usize, usize)) {
    let mut block = Block::new(block);
    bencher.counter(ItemsCount::new(block.operations())).bench_local(|| block.forward());
}

#[divan::bench(args = BLOCKS)]
fn conv_backward(bencher: Bencher<'_, '_>, block: (usize, usize, usize)) {
    let first = block.1 == 3;
    let mut block = Block::new(block);
    block.forward();
    let mut grad = values(block.out.dim(), 4);
    grad.zip_mut_with(&block.out, |grad, &out| {
        if out <= 0.0 {
            *grad = 0.0
        }
    });
    // The first layer of a network needs no gradient of its input.
    let mut dx = (!first).then(|| Array4::zeros(block.x.dim()));
    let mut dweight = Array4::zeros(block.weight.dim());
    let mut dbias = Array1::zeros(block.bias.dim());
    let operations = block.operations() * if first { 1 } else { 2 };
    bencher.counter(ItemsCount::new(operations)).bench_local(|| {
        conv_pool_backward(
            &block.geometry,
            grad.view(),
            block.winners.view(),
            true,
            block.x.view(),
            block.weight.view(),
            dx.as_mut().map(|dx| dx.view_mut()),
            dweight.view_mut(),
            dbias.view_mut(),
        )
        .unwrap();
    });
}

#[divan::bench(args = LAYERS)]
fn dense_forward(bencher: Bencher<'_, '_>, (inputs, outputs): (usize, usize)) {
    let (x, weight) = (values((BATCH, inputs), 1), values((inputs, outputs), 2));
    let bias = values(outputs, 3);
    let mut out = Array2::zeros((BATCH, outputs));
    bencher.counter(ItemsCount::new(2 * BATCH * inputs * outputs)).bench_local(|| {
        dense(x.view(), weight.view(), Some(bias.view()), false, out.view_mut()).unwrap();
    });
}

#[divan::bench(args = LAYERS)]
fn dense_input_gradient(bencher: Bencher<'_, '_>, (inputs, outputs): (usize, usize)) {
    let (grad, weight) = (values((BATCH, outputs), 1), values((inputs, outputs), 2));
    let (mut dx, mut dbias) = (Array2::zeros((BATCH, inputs)), Array1::zeros(outputs));
    bencher.counter(ItemsCount::new(2 * BATCH * inputs * outputs)).bench_local(|| {
        let dx = Some(dx.view_mut());
        dense_backward(grad.view(), weight.view(), None, dx, dbias.view_mut()).unwrap();
    });
}

#[divan::bench(args = LAYERS)]
fn dense_sgd(bencher: Bencher<'_, '_>, (inputs, outputs): (usize, usize)) {
    let (x, grad) = (values((BATCH, inputs), 1), values((BATCH, outputs), 2));
    let mut weight = values((inputs, outputs), 3);
    bencher.counter(ItemsCount::new(2 * BATCH * inputs * outputs)).bench_local(|| {
        let rule = Rule::Sgd { rate: Rate::new(1e-4, 0.0) };
        dense_update(grad.view(), x.view(), weight.view_mut(), rule).unwrap();
    });
}

struct Block {
    geometry: BlockGeometry,
    x: Array4<f32>,
    weight: Array4<f32>,
    bias: Array1<f32>,
    out: Array4<f32>,
    winners: Array4<u8>,
}

impl Block {
    fn new((size, channels, filters): (usize, usize, usize)) -> Self {
        let input = (size, size, channels);
        let geometry = BlockGeometry::new(input, (3, 3), filters, Padding::Same).unwrap();
        let pooled = (BATCH, size / 2, size / 2, filters);
        Self {
            x: values((BATCH, size, size, channels), 1),
            weight: values(geometry.conv.weight_shape(), 2),
            bias: values(filters, 3),
            out: Array4::zeros(pooled),
            winners: Array4::zeros(pooled),
            geometry,
        }
    }

    /// Two for each multiply-add of the dense forward pass.
    fn operations(&self) -> usize {
        let [height, width, _] = self.geometry.conv.output_shape();
        2 * BATCH * height * width * self.weight.len()
    }

    fn forward(&mut self) {
        conv_pool(
            &self.geometry,
            self.x.view(),
            self.weight.view(),
            self.bias.view(),
            After::RELU,
            self.out.view_mut(),
            self.winners.view_mut(),
        )
        .unwrap();
    }
}
