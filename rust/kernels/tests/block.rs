//! The fused and sparse kernels of the block against the general ones.

mod common;

use common::values;
use ferrocnn_kernels::conv::{conv_pool_relu, conv_pool_relu_backward, conv2d, conv2d_backward};
use ferrocnn_kernels::pool::{max_pool, max_pool_backward};
use ferrocnn_kernels::{BlockGeometry, Padding};
use ndarray::{Array1, Array4, Dimension};
use proptest::prelude::*;

fn geometries() -> impl Strategy<Value = BlockGeometry> {
    let channels = || prop_oneof![1..10usize, Just(16), Just(24), Just(32), Just(40), Just(100)];
    let padding = prop_oneof![
        Just(Padding::Same),
        Just(Padding::Valid),
        Just(Padding::Explicit { top: 2, bottom: 0, left: 1, right: 3 })
    ];
    ((1..14usize, 1..14usize, channels()), (1..6usize, 1..6usize), channels(), padding)
        .prop_filter_map("fits", |(input, kernel, filters, padding)| {
            BlockGeometry::new(input, kernel, filters, padding).ok()
        })
}

fn shape(batch: usize, [h, w, c]: [usize; 3]) -> (usize, usize, usize, usize) {
    (batch, h, w, c)
}

/// Convolution, pool and ReLU by the general kernels: output and winners.
fn general_forward(
    g: &BlockGeometry,
    x: &Array4<f32>,
    weight: &Array4<f32>,
    bias: &Array1<f32>,
) -> (Array4<f32>, Array4<u8>) {
    let batch = x.shape()[0];
    let mut conv = Array4::zeros(shape(batch, g.conv.output_shape()));
    conv2d(&g.conv, x.view(), weight.view(), Some(bias.view()), conv.view_mut()).unwrap();
    let mut out = Array4::zeros(shape(batch, g.pool.output_shape()));
    let mut winners = Array4::zeros(out.dim());
    max_pool(&g.pool, conv.view(), out.view_mut(), winners.view_mut()).unwrap();
    ferrocnn_kernels::activation::relu(out.as_slice_mut().unwrap());
    (out, winners)
}

fn bits<D: Dimension>(array: &ndarray::Array<f32, D>) -> Vec<u32> {
    array.iter().map(|value| value.to_bits()).collect()
}

fn assert_near<D: Dimension>(
    got: &ndarray::Array<f32, D>,
    expected: &ndarray::Array<f32, D>,
    terms: usize,
) {
    let tolerance = 2.0 * (terms as f32 + 2.0) * f32::EPSILON;
    for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!((got - expected).abs() <= tolerance, "element {index}: {got}, not {expected}");
    }
}

proptest! {
    #[test]
    fn fused_forward_has_the_bits_of_the_general_one(
        g in geometries(), batch in 1..4usize, seed: u64,
    ) {
        let x = values(shape(batch, g.conv.input_shape()), seed);
        let weight = values(g.conv.weight_shape(), seed ^ 1);
        let bias = values(g.conv.out_channels, seed ^ 2);
        let (expected, expected_winners) = general_forward(&g, &x, &weight, &bias);
        let mut out = Array4::from_elem(expected.dim(), f32::NAN);
        let mut winners = Array4::from_elem(expected.dim(), 9u8);
        conv_pool_relu(&g, x.view(), weight.view(), bias.view(), out.view_mut(), winners.view_mut())
            .unwrap();
        prop_assert_eq!(bits(&out), bits(&expected));
        prop_assert_eq!(winners, expected_winners);
    }

    #[test]
    fn sparse_gradients_are_those_of_the_general_kernels(
        g in geometries(), batch in 1..20usize, seed: u64,
    ) {
        let x = values(shape(batch, g.conv.input_shape()), seed);
        let weight = values(g.conv.weight_shape(), seed ^ 1);
        let bias = values(g.conv.out_channels, seed ^ 2);
        let (out, winners) = general_forward(&g, &x, &weight, &bias);
        let mut grad = values(out.dim(), seed ^ 3);
        grad.zip_mut_with(&out, |grad, &out| if out <= 0.0 { *grad = 0.0 });

        let mut spread = Array4::zeros(shape(batch, g.conv.output_shape()));
        max_pool_backward(&g.pool, grad.view(), winners.view(), spread.view_mut()).unwrap();
        let mut expected = (Array4::zeros(x.dim()), Array4::zeros(weight.dim()), Array1::zeros(bias.dim()));
        conv2d_backward(
            &g.conv,
            spread.view(),
            x.view(),
            weight.view(),
            Some(expected.0.view_mut()),
            expected.1.view_mut(),
            expected.2.view_mut(),
        )
        .unwrap();

        let mut dx = Array4::from_elem(x.dim(), f32::NAN);
        let mut dweight = Array4::from_elem(weight.dim(), f32::NAN);
        let mut dbias = Array1::from_elem(bias.dim(), f32::NAN);
        conv_pool_relu_backward(
            &g,
            grad.view(),
            winners.view(),
            x.view(),
            weight.view(),
            Some(dx.view_mut()),
            dweight.view_mut(),
            dbias.view_mut(),
        )
        .unwrap();
        assert_near(&dx, &expected.0, weight.len() / g.conv.in_channels);
        let pooled = batch * g.pool.height.output * g.pool.width.output;
        assert_near(&dweight, &expected.1, pooled);
        assert_near(&dbias, &expected.2, pooled);
    }
}

#[test]
fn nan_and_ties_go_through_the_fused_pool_as_through_the_general_one() {
    let g = BlockGeometry::new((6, 6, 1), (1, 1), 20, Padding::Same).unwrap();
    let mut x = values((2, 6, 6, 1), 5).mapv(|value| (value * 2.0).round());
    x[[0, 1, 1, 0]] = f32::NAN;
    x[[0, 2, 2, 0]] = f32::NAN;
    x[[0, 2, 3, 0]] = f32::NAN;
    let (weight, bias) = (values((1, 1, 1, 20), 6), Array1::zeros(20));
    let (expected, expected_winners) = general_forward(&g, &x, &weight, &bias);
    let (mut out, mut winners) = (Array4::zeros(expected.dim()), Array4::zeros(expected.dim()));
    conv_pool_relu(&g, x.view(), weight.view(), bias.view(), out.view_mut(), winners.view_mut())
        .unwrap();
    assert_eq!(expected.iter().filter(|value| value.is_nan()).count(), 40);
    assert!(out.iter().zip(&expected).all(|(a, b)| a == b || (a.is_nan() && b.is_nan())));
    assert_eq!(winners, expected_winners);
}
