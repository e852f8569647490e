//! The gradients of the block, sums over live elements, against the general kernels.

mod common;

use common::{block_geometries, values};
use ferrocnn_kernels::conv::{OFF, conv_pool_backward, conv2d_backward};
use ferrocnn_kernels::pool::max_pool_backward;
use ferrocnn_kernels::{BlockGeometry, Padding};
use ndarray::{Array1, Array4, Dimension};
use proptest::prelude::*;

fn shape(batch: usize, [h, w, c]: [usize; 3]) -> (usize, usize, usize, usize) {
    (batch, h, w, c)
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
    fn sparse_gradients_are_those_of_the_general_kernels(
        g in block_geometries(), batch in 1..20usize, live in 0..=4u8, seed: u64,
    ) {
        assert_sparse_gradients(&g, batch, live, seed);
    }
}

/// Bands of some rows of an image, the last one smaller.
#[test]
fn sparse_gradients_of_large_images_are_those_of_the_general_kernels() {
    let deep = [16, 20, 48].map(|filters| ((40, 35, 6), (3, 3), filters));
    for (input, kernel, filters) in [((40, 35, 20), (3, 3), 9), ((23, 400, 2), (4, 5), 3)]
        .into_iter()
        .chain(deep)
        .chain((1..5).map(|channels| ((71, 66, channels), (3, 3), 17)))
    {
        let g = BlockGeometry::new(input, kernel, filters, Padding::Same).unwrap();
        for live in [0, 2, 4] {
            assert_sparse_gradients(&g, 2, live, 7);
        }
    }
}

/// Slices of every width, more filters than a mask has bits, pixels that no window reaches, and
/// windows that reach nothing but padding.
#[test]
fn sparse_gradients_of_3x3_kernels_are_those_of_the_general_kernels() {
    let uneven = Padding::Explicit { top: 2, bottom: 0, left: 1, right: 3 };
    let wide = Padding::Explicit { top: 5, bottom: 7, left: 6, right: 4 };
    for channels in [1, 3, 4, 7, 8, 12, 16, 17, 20, 24, 33] {
        for filters in [1, 8, 19, 32, 33, 70] {
            for padding in [Padding::Same, Padding::Valid, uneven, wide] {
                for size in [(4, 4), (5, 6), (8, 7)] {
                    let input = (size.0, size.1, channels);
                    let g = BlockGeometry::new(input, (3, 3), filters, padding).unwrap();
                    assert_sparse_gradients(&g, 2, 3, 7);
                }
            }
        }
    }
}

/// `live` of four windows carry gradient.
fn assert_sparse_gradients(g: &BlockGeometry, batch: usize, live: u8, seed: u64) {
    let x = values(shape(batch, g.conv.input_shape()), seed);
    let weight = values(g.conv.weight_shape(), seed ^ 1);
    let grad = values(shape(batch, g.pool.output_shape()), seed ^ 2);
    let places = values(grad.dim(), seed ^ 3).mapv(|value| (value * 8.0 + 8.0) as u8);
    let winners = places.mapv(|place| if place / 4 < live { place % 4 } else { OFF });

    let mut spread = Array4::zeros(shape(batch, g.conv.output_shape()));
    let mut alive = grad.clone();
    alive.zip_mut_with(&winners, |grad, &winner| {
        if winner == OFF {
            *grad = 0.0
        }
    });
    let places = places.mapv(|place| place % 4);
    max_pool_backward(&g.pool, alive.view(), places.view(), spread.view_mut()).unwrap();
    let (mut expected_dx, mut expected_dweight) =
        (Array4::zeros(x.dim()), Array4::zeros(weight.dim()));
    let mut expected_dbias = Array1::zeros(g.conv.out_channels);
    conv2d_backward(
        &g.conv,
        spread.view(),
        x.view(),
        weight.view(),
        Some(expected_dx.view_mut()),
        expected_dweight.view_mut(),
        expected_dbias.view_mut(),
    )
    .unwrap();

    let mut dx = Array4::from_elem(x.dim(), f32::NAN);
    let mut dweight = Array4::from_elem(weight.dim(), f32::NAN);
    let mut dbias = Array1::from_elem(g.conv.out_channels, f32::NAN);
    conv_pool_backward(
        g,
        grad.view(),
        winners.view(),
        true,
        x.view(),
        weight.view(),
        Some(dx.view_mut()),
        dweight.view_mut(),
        dbias.view_mut(),
    )
    .unwrap();
    assert_near(&dx, &expected_dx, weight.len() / g.conv.in_channels);
    let pooled = batch * g.pool.height.output * g.pool.width.output;
    assert_near(&dweight, &expected_dweight, pooled);
    assert_near(&dbias, &expected_dbias, pooled);
}
