//! The fused forward of the block against the general kernels and the truth.

mod common;

use common::{block_geometries, for_each_product, values, winograd_rounding, zeros};
use ferrocnn_kernels::conv::{After, OFF, conv_pool, conv2d};
use ferrocnn_kernels::pool::max_pool;
use ferrocnn_kernels::{BlockGeometry, KernelError, Padding};
use ndarray::{Array1, Array4, Dimension};
use proptest::prelude::*;

/// 3x3 kernels over many channels; larger images than `block_geometries`, so that tiles meet edges.
fn winograd_geometries() -> impl Strategy<Value = BlockGeometry> {
    let channels = || prop_oneof![Just(8), Just(16), 9..20usize, Just(24), Just(40)];
    let padding = prop_oneof![
        Just(Padding::Same),
        Just(Padding::Valid),
        Just(Padding::Explicit { top: 2, bottom: 0, left: 1, right: 3 })
    ];
    ((2..30usize, 2..30usize, channels()), prop_oneof![1..9usize, channels()], padding)
        .prop_filter_map("fits", |(input, filters, padding)| {
            BlockGeometry::new(input, (3, 3), filters, padding).ok()
        })
}

/// 3x3 kernels over two to four channels, also wider than the tiles that are transformed at once.
fn few_channel_geometries() -> impl Strategy<Value = BlockGeometry> {
    let width = prop_oneof![2..30usize, 60..90usize];
    let filters = prop_oneof![1..9usize, Just(16), Just(24), Just(40)];
    let padding = prop_oneof![
        Just(Padding::Same),
        Just(Padding::Valid),
        Just(Padding::Explicit { top: 2, bottom: 0, left: 1, right: 3 }),
        Just(Padding::Explicit { top: 7, bottom: 1, left: 9, right: 0 })
    ];
    ((2..12usize, width, 2..5usize), filters, padding)
        .prop_filter_map("fits", |(input, filters, padding)| {
            BlockGeometry::new(input, (3, 3), filters, padding).ok()
        })
}

fn shape(batch: usize, [h, w, c]: [usize; 3]) -> (usize, usize, usize, usize) {
    (batch, h, w, c)
}

/// The convolution by the general kernel.
fn general_conv(
    g: &BlockGeometry,
    x: &Array4<f32>,
    weight: &Array4<f32>,
    bias: &Array1<f32>,
) -> Array4<f32> {
    let mut conv = Array4::zeros(shape(x.shape()[0], g.conv.output_shape()));
    conv2d(&g.conv, x.view(), weight.view(), Some(bias.view()), conv.view_mut()).unwrap();
    conv
}

/// The convolution in float64.
fn true_conv(
    g: &BlockGeometry,
    x: &Array4<f32>,
    weight: &Array4<f32>,
    bias: &Array1<f32>,
) -> Array4<f64> {
    let batch = x.shape()[0];
    let mut conv = zeros(batch, g.conv.output_shape());
    for mut pixel in conv.rows_mut() {
        pixel.assign(&bias.mapv(f64::from));
    }
    for_each_product(&g.conv, batch, |out, from, tap| {
        conv[out] += f64::from(x[from]) * f64::from(weight[tap]);
    });
    conv
}

/// The pool by the general kernel: output and winners.
fn general_max(g: &BlockGeometry, conv: &Array4<f32>) -> (Array4<f32>, Array4<u8>) {
    let mut out = Array4::zeros(shape(conv.shape()[0], g.pool.output_shape()));
    let mut winners = Array4::zeros(out.dim());
    max_pool(&g.pool, conv.view(), out.view_mut(), winners.view_mut()).unwrap();
    (out, winners)
}

/// Pool and ReLU by the general kernels: output, and winners where the ReLU is on.
fn general_pool(g: &BlockGeometry, conv: &Array4<f32>) -> (Array4<f32>, Array4<u8>) {
    let (mut out, mut winners) = general_max(g, conv);
    ferrocnn_kernels::activation::relu(out.as_slice_mut().unwrap());
    winners.zip_mut_with(&out, |winner, &out| {
        if out.is_nan() || out <= 0.0 {
            *winner = OFF;
        }
    });
    (out, winners)
}

/// The fused forward, into buffers full of rubbish.
fn fused(
    g: &BlockGeometry,
    x: &Array4<f32>,
    weight: &Array4<f32>,
    bias: &Array1<f32>,
    after: After,
) -> (Array4<f32>, Array4<u8>) {
    let mut out = Array4::from_elem(shape(x.shape()[0], g.pool.output_shape()), f32::NAN);
    let mut winners = Array4::from_elem(out.dim(), 9u8);
    let (x, weight, bias) = (x.view(), weight.view(), bias.view());
    conv_pool(g, x, weight, bias, after, out.view_mut(), winners.view_mut()).unwrap();
    (out, winners)
}

/// Whether the fused forward of this geometry is the direct sum, in the order of the general one.
fn is_direct(g: &BlockGeometry) -> bool {
    g.conv.weight_shape()[..2] != [3, 3] || [1, 5, 6, 7].contains(&g.conv.in_channels)
}

/// Every output near the truth, and every winner at a place whose value is near the largest.
fn assert_pooled(
    g: &BlockGeometry,
    conv: &Array4<f64>,
    (out, winners): (&Array4<f32>, &Array4<u8>),
    relu: bool,
    tolerance: f64,
) {
    for ((i, y, x, f), &out) in out.indexed_iter() {
        let at = |place: usize| conv[[i, 2 * y + place / 2, 2 * x + place % 2, f]];
        let largest = (0..4).map(at).fold(f64::NEG_INFINITY, f64::max);
        let expected = if relu { largest.max(0.0) } else { largest };
        let difference = (f64::from(out) - expected).abs();
        assert!(difference <= tolerance, "{g:?}: {out} instead of {largest}");
        let winner = winners[[i, y, x, f]];
        assert_eq!(winner == OFF, relu && out <= 0.0);
        if winner != OFF {
            assert!(at(winner.into()) >= largest - 2.0 * tolerance, "{g:?}: winner {winner}");
        }
    }
}

fn bits<D: Dimension>(array: &ndarray::Array<f32, D>) -> Vec<u32> {
    array.iter().map(|value| value.to_bits()).collect()
}

proptest! {
    #[test]
    fn direct_forward_has_the_bits_of_the_general_one(
        g in block_geometries().prop_filter("direct", is_direct), batch in 1..4usize, seed: u64,
    ) {
        let x = values(shape(batch, g.conv.input_shape()), seed);
        let weight = values(g.conv.weight_shape(), seed ^ 1);
        let bias = values(g.conv.out_channels, seed ^ 2);
        let (expected, expected_winners) = general_pool(&g, &general_conv(&g, &x, &weight, &bias));
        let (out, winners) = fused(&g, &x, &weight, &bias, After::RELU);
        prop_assert_eq!(bits(&out), bits(&expected));
        prop_assert_eq!(winners, expected_winners);
    }

    #[test]
    fn direct_forward_without_a_relu_has_the_bits_of_the_general_one(
        g in block_geometries().prop_filter("direct", is_direct), batch in 1..4usize, seed: u64,
    ) {
        let x = values(shape(batch, g.conv.input_shape()), seed);
        let weight = values(g.conv.weight_shape(), seed ^ 1);
        let bias = values(g.conv.out_channels, seed ^ 2);
        let (expected, expected_winners) = general_max(&g, &general_conv(&g, &x, &weight, &bias));
        let (out, winners) = fused(&g, &x, &weight, &bias, After::default());
        prop_assert_eq!(bits(&out), bits(&expected));
        prop_assert_eq!(winners, expected_winners);
    }

    #[test]
    fn winograd_forward_is_near_the_truth(
        g in prop_oneof![winograd_geometries(), few_channel_geometries()],
        batch in 1..7usize,
        seed: u64,
    ) {
        let x = values(shape(batch, g.conv.input_shape()), seed);
        let weight = values(g.conv.weight_shape(), seed ^ 1);
        let bias = values(g.conv.out_channels, seed ^ 2);
        let conv = true_conv(&g, &x, &weight, &bias);
        let tolerance = winograd_rounding(g.conv.in_channels);
        for after in [After::RELU, After::default()] {
            let (out, winners) = fused(&g, &x, &weight, &bias, after);
            assert_pooled(&g, &conv, (&out, &winners), after.relu, tolerance);
        }
    }

    /// Both kinds of forward, with each kind of vector full, partly filled and several.
    #[test]
    fn factors_and_addends_come_after_the_pool_and_before_the_relu(
        g in prop_oneof![block_geometries(), winograd_geometries(), few_channel_geometries()],
        batch in 1..4usize,
        seed: u64,
    ) {
        let x = values(shape(batch, g.conv.input_shape()), seed);
        let weight = values(g.conv.weight_shape(), seed ^ 1);
        let bias = values(g.conv.out_channels, seed ^ 2);
        let (factor, addend) = (values(bias.len(), seed ^ 3), values(bias.len(), seed ^ 4));
        let affine = Some((factor.as_slice().unwrap(), addend.as_slice().unwrap()));
        let (pooled, places) = fused(&g, &x, &weight, &bias, After::default());
        for relu in [false, true] {
            let (out, winners) = fused(&g, &x, &weight, &bias, After { affine, relu });
            for ((i, y, x, f), &out) in out.indexed_iter() {
                let product = f64::from(pooled[[i, y, x, f]]) * f64::from(factor[f]);
                let sum = product + f64::from(addend[f]);
                let expected = if relu { sum.max(0.0) } else { sum };
                // One or two roundings, as the instruction set has it.
                let tolerance = f64::from(f32::EPSILON) * (product.abs() + sum.abs());
                prop_assert!((f64::from(out) - expected).abs() <= tolerance, "{out}, not {expected}");
                let off = relu && out <= 0.0;
                let place = places[[i, y, x, f]];
                prop_assert_eq!(winners[[i, y, x, f]], if off { OFF } else { place });
            }
        }
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
    let (expected, expected_winners) = general_pool(&g, &general_conv(&g, &x, &weight, &bias));
    let (out, winners) = fused(&g, &x, &weight, &bias, After::RELU);
    assert_eq!(expected.iter().filter(|value| value.is_nan()).count(), 40);
    assert!(out.iter().zip(&expected).all(|(a, b)| a == b || (a.is_nan() && b.is_nan())));
    assert_eq!(winners, expected_winners);
}

#[test]
fn vectors_of_another_length_than_the_channels_are_refused() {
    let g = BlockGeometry::new((4, 4, 1), (3, 3), 5, Padding::Same).unwrap();
    let (x, weight, bias) = (values((1, 4, 4, 1), 1), values((3, 3, 1, 5), 2), Array1::zeros(5));
    let (long, short) = ([1.0; 5], [1.0; 4]);
    let wrong = [("factor", &short[..], &long[..]), ("addend", &long[..], &short[..])];
    for (argument, factor, addend) in wrong {
        let (mut out, mut winners) = (Array4::zeros((1, 2, 2, 5)), Array4::zeros((1, 2, 2, 5)));
        let (x, weight, bias) = (x.view(), weight.view(), bias.view());
        let after = After { affine: Some((factor, addend)), relu: true };
        let result = conv_pool(&g, x, weight, bias, after, out.view_mut(), winners.view_mut());
        let error = KernelError::Shape { argument, expected: vec![5], got: vec![4] };
        assert_eq!(result, Err(error));
    }
}

/// docs/architecture.md quotes the figures that this prints.
#[test]
fn winograd_rounds_a_few_times_as_much_as_the_direct_sum() {
    // The roundings of the transforms weigh the more the fewer the terms: by `winograd_rounding`, one
    // and a half times as much over 3 channels as over 8.
    for (channels, limit) in [(3, 4.0), (8, 3.0), (16, 3.0), (64, 3.0)] {
        let g = BlockGeometry::new((32, 32, channels), (3, 3), 16, Padding::Same).unwrap();
        let (x, weight) = (values((1, 32, 32, channels), 1), values((3, 3, channels, 16), 2));
        let bias = values(16, 3);
        let truth = true_conv(&g, &x, &weight, &bias);
        let pooled = Array4::from_shape_fn((1, 16, 16, 16), |(i, y, x, f)| {
            let at = |place: usize| truth[[i, 2 * y + place / 2, 2 * x + place % 2, f]];
            (0..4).map(at).fold(0.0, f64::max)
        });
        let error = |out: &Array4<f32>| {
            let squares =
                out.iter().zip(&pooled).map(|(&out, truth)| (f64::from(out) - truth).powi(2));
            (squares.sum::<f64>() / out.len() as f64).sqrt()
        };
        let direct = error(&general_pool(&g, &general_conv(&g, &x, &weight, &bias)).0);
        let winograd = error(&fused(&g, &x, &weight, &bias, After::RELU).0);
        println!("{channels} channels: direct {direct:.2e}, Winograd {winograd:.2e}");
        assert!(winograd < limit * direct, "{channels} channels: {winograd} against {direct}");
    }
}
