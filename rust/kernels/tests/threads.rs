//! Equal bits for any number of threads.

mod common;

use common::values;
use ferrocnn_kernels::conv::{conv_pool_relu_backward, conv2d_backward};
use ferrocnn_kernels::dense::dense_backward;
use ferrocnn_kernels::threads::{set_threads, threads};
use ferrocnn_kernels::{BlockGeometry, ConvGeometry, Padding};
use ndarray::{Array1, Array2, Array4};

fn gradients() -> Vec<u32> {
    let g = ConvGeometry::new((12, 12, 5), (3, 3), 7, (1, 1), Padding::Same).unwrap();
    let (x, grad) = (values((37, 12, 12, 5), 1), values((37, 12, 12, 7), 2));
    let weight = values((3, 3, 5, 7), 3);
    let (mut dx, mut dweight) = (Array4::zeros(x.dim()), Array4::zeros(weight.dim()));
    let mut dbias = Array1::zeros(7);
    let (views, dweight_view) = ((grad.view(), x.view(), weight.view()), dweight.view_mut());
    let (grad, x, weight) = views;
    conv2d_backward(&g, grad, x, weight, Some(dx.view_mut()), dweight_view, dbias.view_mut())
        .unwrap();

    let block = BlockGeometry::new((12, 12, 5), (3, 3), 7, Padding::Same).unwrap();
    let pooled = values((37, 6, 6, 7), 7);
    let winners = pooled.mapv(|value| (value.abs() * 3.99) as u8);
    let (mut block_dx, mut block_dweight) = (Array4::zeros(x.dim()), Array4::zeros(weight.dim()));
    let mut block_dbias = Array1::zeros(7);
    conv_pool_relu_backward(
        &block,
        pooled.view(),
        winners.view(),
        x,
        weight,
        Some(block_dx.view_mut()),
        block_dweight.view_mut(),
        block_dbias.view_mut(),
    )
    .unwrap();

    let (x, grad, weight) = (values((37, 300), 4), values((37, 9), 5), values((300, 9), 6));
    let (mut dense_dx, mut dense_dweight) = (Array2::zeros(x.dim()), Array2::zeros(weight.dim()));
    let mut dense_dbias = Array1::zeros(9);
    dense_backward(
        grad.view(),
        x.view(),
        weight.view(),
        Some(dense_dx.view_mut()),
        dense_dweight.view_mut(),
        dense_dbias.view_mut(),
    )
    .unwrap();
    let convolution = dx.into_iter().chain(dweight).chain(dbias);
    let dense = dense_dx.into_iter().chain(dense_dweight).chain(dense_dbias);
    let block = block_dx.into_iter().chain(block_dweight).chain(block_dbias);
    convolution.chain(block).chain(dense).map(f32::to_bits).collect()
}

#[test]
fn equal_bits_for_any_number_of_threads() {
    let mut results = Vec::new();
    for count in [1, 2, 3, 8] {
        set_threads(count).unwrap();
        assert_eq!(threads(), Ok(count));
        results.push(gradients());
    }
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
}
