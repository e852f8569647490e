//! Pooling against plain loops, over random geometries.

mod common;

use common::{assert_close, paddings, rounding, values, zeros};
use ferrocnn_kernels::pool::{
    average_pool, average_pool_backward, global_average_pool, global_average_pool_backward,
    max_pool, max_pool_backward,
};
use ferrocnn_kernels::{KernelError, Padding, PoolGeometry};
use ndarray::{Array2, Array4};
use proptest::prelude::*;

fn geometries() -> impl Strategy<Value = PoolGeometry> {
    let sizes = (1..10usize, 1..10usize, 1..20usize);
    (sizes, (1..5usize, 1..5usize), (1..4usize, 1..4usize), paddings())
        .prop_filter_map("fits", |(input, window, stride, padding)| {
            PoolGeometry::new(input, window, stride, padding).ok()
        })
}

fn shape(batch: usize, [h, w, c]: [usize; 3]) -> (usize, usize, usize, usize) {
    (batch, h, w, c)
}

/// The (index in the window, y, x) of each element that is not padding.
fn window(g: &PoolGeometry, oy: usize, ox: usize) -> Vec<(usize, usize, usize)> {
    let mut elements = Vec::new();
    for a in 0..g.height.window {
        for b in 0..g.width.window {
            let y = (oy * g.height.stride + a).wrapping_sub(g.height.before);
            let x = (ox * g.width.stride + b).wrapping_sub(g.width.before);
            if y < g.height.size && x < g.width.size {
                elements.push((a * g.width.window + b, y, x));
            }
        }
    }
    elements
}

proptest! {
    #[test]
    fn the_first_maximum_wins_and_takes_the_gradient(g in geometries(), seed: u64) {
        // Few distinct values, so that ties are common.
        let x = values(shape(2, g.input_shape()), seed).mapv(|value| (value * 3.0).round());
        let grad = values(shape(2, g.output_shape()), seed ^ 1);
        let mut out = Array4::from_elem(grad.dim(), f32::NAN);
        let mut winners = Array4::from_elem(grad.dim(), 255u8);
        max_pool(&g, x.view(), out.view_mut(), winners.view_mut()).unwrap();
        let mut dx = Array4::from_elem(x.dim(), f32::NAN);
        max_pool_backward(&g, grad.view(), winners.view(), dx.view_mut()).unwrap();

        let mut expected_dx = zeros(2, g.input_shape());
        for ((i, oy, ox, c), &winner) in winners.indexed_iter() {
            let mut best = (0, f32::NEG_INFINITY, 0, 0);
            for (index, y, x_) in window(&g, oy, ox) {
                if x[[i, y, x_, c]] > best.1 {
                    best = (index, x[[i, y, x_, c]], y, x_);
                }
            }
            prop_assert_eq!(usize::from(winner), best.0);
            prop_assert_eq!(out[[i, oy, ox, c]], best.1);
            expected_dx[[i, best.2, best.3, c]] += f64::from(grad[[i, oy, ox, c]]);
        }
        assert_close(&dx, &expected_dx, rounding(g.window_area()));
    }

    #[test]
    fn averages_leave_padding_out(g in geometries(), seed: u64) {
        let x = values(shape(2, g.input_shape()), seed);
        let grad = values(shape(2, g.output_shape()), seed ^ 1);
        let mut out = Array4::from_elem(grad.dim(), f32::NAN);
        average_pool(&g, x.view(), out.view_mut()).unwrap();
        let mut dx = Array4::from_elem(x.dim(), f32::NAN);
        average_pool_backward(&g, grad.view(), dx.view_mut()).unwrap();

        let mut expected = zeros(2, g.output_shape());
        let mut expected_dx = zeros(2, g.input_shape());
        for ((i, oy, ox, c), mean) in expected.indexed_iter_mut() {
            let elements = window(&g, oy, ox);
            for &(_, y, x_) in &elements {
                *mean += f64::from(x[[i, y, x_, c]]) / elements.len() as f64;
                expected_dx[[i, y, x_, c]] +=
                    f64::from(grad[[i, oy, ox, c]]) / elements.len() as f64;
            }
        }
        assert_close(&out, &expected, rounding(g.window_area()));
        assert_close(&dx, &expected_dx, rounding(g.window_area()));
    }
}

#[test]
fn global_average_is_the_mean_of_all_pixels() {
    let x = values((2, 3, 5, 7), 1);
    let mut out = Array2::zeros((2, 7));
    global_average_pool(x.view(), out.view_mut()).unwrap();
    let grad = values((2, 7), 2);
    let mut dx = Array4::zeros(x.dim());
    global_average_pool_backward(grad.view(), dx.view_mut()).unwrap();
    for ((i, _, _, c), &value) in dx.indexed_iter() {
        assert_eq!(value, grad[[i, c]] / 15.0);
    }
    for ((i, c), &mean) in out.indexed_iter() {
        let pixels = x.slice(ndarray::s![i, .., .., c]);
        let expected = pixels.iter().map(|&value| f64::from(value)).sum::<f64>() / 15.0;
        assert!((f64::from(mean) - expected).abs() < rounding(15));
    }
}

#[test]
fn nan_wins_and_the_first_of_them_stays() {
    let g = PoolGeometry::new((2, 2, 1), (2, 2), (2, 2), Padding::Valid).unwrap();
    let nan = f32::NAN;
    for (values, winner) in [([1.0, nan, nan, 2.0], 1), ([nan, 9.0, nan, 2.0], 0)] {
        let x = Array4::from_shape_vec((1, 2, 2, 1), values.to_vec()).unwrap();
        let (mut out, mut winners) =
            (Array4::zeros((1, 1, 1, 1)), Array4::from_elem((1, 1, 1, 1), 9u8));
        max_pool(&g, x.view(), out.view_mut(), winners.view_mut()).unwrap();
        assert!(out[[0, 0, 0, 0]].is_nan());
        assert_eq!(winners[[0, 0, 0, 0]], winner);
    }
}

#[test]
fn windows_of_padding_alone_and_false_winners_are_refused() {
    let padding = Padding::Explicit { top: 2, bottom: 0, left: 0, right: 0 };
    let refused = PoolGeometry::new((4, 4, 1), (2, 2), (2, 2), padding);
    assert_eq!(refused, Err(KernelError::PoolPadding { window: 2, padding: 2 }));

    let g = PoolGeometry::new((4, 4, 1), (2, 2), (2, 2), Padding::Valid).unwrap();
    let grad = values((1, 2, 2, 1), 1);
    let winners = Array4::from_elem((1, 2, 2, 1), 4u8);
    let mut dx = Array4::zeros((1, 4, 4, 1));
    let error = max_pool_backward(&g, grad.view(), winners.view(), dx.view_mut()).unwrap_err();
    assert_eq!(error, KernelError::Winner { got: 4, position: 0 });
}
