//! The adjoint of the Winograd forward, behind a pool and without one, and the forward without a
//! pool, against sums in float64.

mod common;

use common::{assert_close, for_each_product, rounding, values, winograd_rounding, zeros};
use ferrocnn_kernels::conv::{
    After, Filters, Parameters, conv_backward, conv_pool, conv_pool_backward,
};
use ferrocnn_kernels::network::{Images, Layer, forward};
use ferrocnn_kernels::{BlockGeometry, ConvGeometry, Padding};
use ndarray::{Array1, Array4};
use proptest::prelude::*;

fn many_channels() -> impl Strategy<Value = usize> {
    prop_oneof![Just(32), 33..50usize, Just(64)]
}

fn geometries(in_channels: impl Strategy<Value = usize>) -> impl Strategy<Value = BlockGeometry> {
    let padding = prop_oneof![
        Just(Padding::Same),
        Just(Padding::Valid),
        Just(Padding::Explicit { top: 2, bottom: 0, left: 1, right: 3 })
    ];
    ((2..14usize, 2..14usize, in_channels), many_channels(), padding)
        .prop_filter_map("fits", |(input, filters, padding)| {
            BlockGeometry::new(input, (3, 3), filters, padding).ok()
        })
}

fn shape(batch: usize, [h, w, c]: [usize; 3]) -> (usize, usize, usize, usize) {
    (batch, h, w, c)
}

/// Gradients of input, weights and biases.
struct Gradients<T>(Array4<T>, Array4<T>, Array1<T>);

fn rubbish(g: &ConvGeometry, batch: usize) -> Gradients<f32> {
    Gradients(
        Array4::from_elem(shape(batch, g.input_shape()), f32::NAN),
        Array4::from_elem(g.weight_shape(), f32::NAN),
        Array1::from_elem(g.out_channels, f32::NAN),
    )
}

fn truth(
    g: &ConvGeometry,
    grad: &Array4<f32>,
    x: &Array4<f32>,
    weight: &Array4<f32>,
) -> Gradients<f64> {
    let batch = x.shape()[0];
    let [a, b, c, f] = g.weight_shape();
    let mut dx = zeros(batch, g.input_shape());
    let mut dweight = Array4::zeros((a, b, c, f));
    for_each_product(g, batch, |out, from, tap| {
        dx[from] += f64::from(grad[out]) * f64::from(weight[tap]);
        dweight[tap] += f64::from(grad[out]) * f64::from(x[from]);
    });
    let mut dbias = Array1::zeros(f);
    for pixel in grad.rows() {
        dbias += &pixel.mapv(f64::from);
    }
    Gradients(dx, dweight, dbias)
}

/// The gradients behind a pool without a ReLU, of the input only where asked for.
fn behind(
    g: &BlockGeometry,
    (grad, winners): (&Array4<f32>, &Array4<u8>),
    x: &Array4<f32>,
    weight: &Array4<f32>,
    need_dx: bool,
) -> Gradients<f32> {
    let mut got = rubbish(&g.conv, x.shape()[0]);
    conv_pool_backward(
        g,
        grad.view(),
        winners.view(),
        false,
        x.view(),
        weight.view(),
        need_dx.then(|| got.0.view_mut()),
        got.1.view_mut(),
        got.2.view_mut(),
    )
    .unwrap();
    got
}

fn check(g: &ConvGeometry, batch: usize, got: &Gradients<f32>, expected: &Gradients<f64>) {
    let tiles = batch * g.height.output.div_ceil(4) * g.width.output.div_ceil(4);
    assert_close(&got.0, &expected.0, winograd_rounding(g.out_channels));
    assert_close(&got.1, &expected.1, winograd_rounding(tiles));
    assert_close(&got.2, &expected.2, rounding(batch * g.height.output * g.width.output));
}

proptest! {
    // The truth takes a tenth of a second.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn behind_a_pool(g in geometries(many_channels()), batch in 1..9usize, seed: u64) {
        let conv = &g.conv;
        let x = values(shape(batch, conv.input_shape()), seed);
        let weight = values(conv.weight_shape(), seed ^ 1);
        let grad = values(shape(batch, g.pool.output_shape()), seed ^ 2);
        // Places from 4 on carry no gradient.
        let winners = grad.mapv(|value| (value.to_bits() >> 9) as u8 % 5);
        let mut spread = Array4::zeros(shape(batch, conv.output_shape()));
        for ((i, y, x, f), &winner) in winners.indexed_iter() {
            let (a, b) = (usize::from(winner) / 2, usize::from(winner) % 2);
            if winner < 4 {
                spread[[i, 2 * y + a, 2 * x + b, f]] = grad[[i, y, x, f]];
            }
        }
        let got = behind(&g, (&grad, &winners), &x, &weight, true);
        let expected = truth(conv, &spread, &x, &weight);
        check(conv, batch, &got, &expected);

        let weights_alone = behind(&g, (&grad, &winners), &x, &weight, false);
        prop_assert_eq!(weights_alone.1, got.1);
        prop_assert_eq!(weights_alone.2, got.2);
    }

    #[test]
    fn without_a_pool(
        g in geometries(prop_oneof![many_channels(), 2..5usize]), batch in 1..3usize, seed: u64,
    ) {
        without_pool(&g.conv, batch, seed);
    }
}

/// Forward and backward of a layer's convolution.
fn without_pool(conv: &ConvGeometry, batch: usize, seed: u64) {
    let x = values(shape(batch, conv.input_shape()), seed);
    let weight = values(conv.weight_shape(), seed ^ 1);
    let bias = values(conv.out_channels, seed ^ 2);
    let mut out = Array4::from_elem(shape(batch, conv.output_shape()), f32::NAN);
    let mut filters = Filters::default();
    let layer = Layer::Conv {
        geometry: conv,
        parameters: Parameters {
            weight: weight.as_slice().unwrap(),
            bias: bias.as_slice().unwrap(),
            filters: &mut filters,
        },
        out: out.as_slice_mut().unwrap(),
    };
    forward(batch, Images::Floats(x.as_slice().unwrap()), &mut [layer]).unwrap();
    let mut expected = zeros(batch, conv.output_shape());
    for mut pixel in expected.rows_mut() {
        pixel.assign(&bias.mapv(f64::from));
    }
    for_each_product(conv, batch, |out, from, tap| {
        expected[out] += f64::from(x[from]) * f64::from(weight[tap]);
    });
    assert_close(&out, &expected, winograd_rounding(conv.in_channels));

    let grad = values(out.dim(), seed ^ 3);
    let mut got = rubbish(conv, batch);
    let (dx, dweight, dbias) = (got.0.view_mut(), got.1.view_mut(), got.2.view_mut());
    conv_backward(conv, grad.view(), x.view(), weight.view(), Some(dx), dweight, dbias).unwrap();
    check(conv, batch, &got, &truth(conv, &grad, &x, &weight));
}

/// Bands of 32 tiles: several of one image, and of the images of a group, of which the last has fewer.
#[test]
fn sums_go_on_from_band_to_band() {
    for (batch, size) in [(1, 40), (67, 8)] {
        let (pair, same) = ((1, 1), Padding::Same);
        let conv = ConvGeometry::new((size, size, 8), (3, 3), 8, pair, same).unwrap();
        without_pool(&conv, batch, 5);
    }
}

#[test]
fn no_images_give_zeros() {
    let g = BlockGeometry::new((5, 6, 32), (3, 3), 32, Padding::Same).unwrap();
    let (x, grad) = (Array4::<f32>::zeros((0, 5, 6, 32)), Array4::zeros((0, 2, 3, 32)));
    let (winners, weight) = (Array4::zeros(grad.dim()), values(g.conv.weight_shape(), 1));
    let got = behind(&g, (&grad, &winners), &x, &weight, true);
    assert!(got.1.iter().chain(&got.2).all(|&value| value == 0.0));
}

/// Filters are kept for the weights that they were made from, down to the sign of a zero.
#[test]
fn kept_filters_follow_the_weights() {
    for in_channels in [3, 8] {
        let g = BlockGeometry::new((8, 8, in_channels), (3, 3), 20, Padding::Same).unwrap();
        let x = values(shape(1, g.conv.input_shape()), 1);
        let mut weight = values(g.conv.weight_shape(), 2);
        let bias = values(20, 3);
        let mut filters = Filters::default();
        for value in [1.0, 2.0, 2.0, 0.0, -0.0] {
            weight[[2, 1, in_channels - 1, 19]] = value;
            let (mut fresh, mut kept) = (zeros32(&g), zeros32(&g));
            let mut winners = Array4::zeros(fresh.dim());
            let (views, out) = ((x.view(), weight.view(), bias.view()), fresh.view_mut());
            let (x_view, weight_view, bias_view) = views;
            let after = After::RELU;
            conv_pool(&g, x_view, weight_view, bias_view, after, out, winners.view_mut()).unwrap();
            let layer = Layer::ConvPool {
                geometry: &g,
                parameters: Parameters {
                    weight: weight.as_slice().unwrap(),
                    bias: bias.as_slice().unwrap(),
                    filters: &mut filters,
                },
                after,
                out: kept.as_slice_mut().unwrap(),
                winners: winners.as_slice_mut().unwrap(),
            };
            forward(1, Images::Floats(x.as_slice().unwrap()), &mut [layer]).unwrap();
            assert_eq!(kept.mapv(f32::to_bits), fresh.mapv(f32::to_bits));
        }
    }
}

fn zeros32(g: &BlockGeometry) -> Array4<f32> {
    Array4::zeros(shape(1, g.pool.output_shape()))
}
