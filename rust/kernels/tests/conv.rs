//! Convolution against seven loops, over random geometries.

mod common;

use common::{assert_close, for_each_product, geometries, rounding, values, zeros};
use ferrocnn_kernels::conv::{conv2d, conv2d_backward};
use ferrocnn_kernels::{ConvGeometry, KernelError, Padding};
use ndarray::{Array1, Array4};
use proptest::prelude::*;

fn shape(batch: usize, [h, w, c]: [usize; 3]) -> (usize, usize, usize, usize) {
    (batch, h, w, c)
}

proptest! {
    #[test]
    fn forward_is_the_sum_over_the_window(g in geometries(), batch in 1..4usize, seed: u64) {
        let x = values(shape(batch, g.input_shape()), seed);
        let weight = values(g.weight_shape(), seed ^ 1);
        let bias = values(g.out_channels, seed ^ 2);
        let mut expected = zeros(batch, g.output_shape());
        for (index, value) in expected.indexed_iter_mut() {
            *value = bias[index.3].into();
        }
        for_each_product(&g, batch, |out, input, w| {
            expected[out] += f64::from(x[input]) * f64::from(weight[w]);
        });

        let mut out = Array4::from_elem(shape(batch, g.output_shape()), f32::NAN);
        conv2d(&g, x.view(), weight.view(), Some(bias.view()), out.view_mut()).unwrap();
        assert_close(&out, &expected, rounding(weight.len() / g.out_channels));
    }

    #[test]
    fn backward_is_the_transpose_of_forward(g in geometries(), batch in 1..4usize, seed: u64) {
        let x = values(shape(batch, g.input_shape()), seed);
        let weight = values(g.weight_shape(), seed ^ 1);
        let grad = values(shape(batch, g.output_shape()), seed ^ 2);
        let mut expected_dx = zeros(batch, g.input_shape());
        let mut expected_dweight = Array4::<f64>::zeros(g.weight_shape());
        for_each_product(&g, batch, |out, input, w| {
            expected_dx[input] += f64::from(grad[out]) * f64::from(weight[w]);
            expected_dweight[w] += f64::from(grad[out]) * f64::from(x[input]);
        });
        let expected_dbias = Array1::from_shape_fn(g.out_channels, |f| {
            grad.indexed_iter().filter(|(i, _)| i.3 == f).map(|(_, &v)| f64::from(v)).sum()
        });

        let mut dx = Array4::from_elem(x.dim(), f32::NAN);
        let mut dweight = Array4::from_elem(weight.dim(), f32::NAN);
        let mut dbias = Array1::from_elem(g.out_channels, f32::NAN);
        conv2d_backward(
            &g,
            grad.view(),
            x.view(),
            weight.view(),
            Some(dx.view_mut()),
            dweight.view_mut(),
            dbias.view_mut(),
        )
        .unwrap();
        assert_close(&dx, &expected_dx, rounding(weight.len() / g.in_channels));
        let pixels = batch * g.height.output * g.width.output;
        assert_close(&dweight, &expected_dweight, rounding(pixels));
        assert_close(&dbias, &expected_dbias, rounding(pixels));
    }
}

#[test]
fn same_padding_is_the_rule_of_tensorflow() {
    // (size, window, stride) -> (output, before, after), worked by hand from
    // max((ceil(size / stride) - 1) * stride + window - size, 0).
    let cases = [
        ((5, 3, 1), (5, 1, 1)),
        ((5, 2, 1), (5, 0, 1)),
        ((5, 3, 2), (3, 1, 1)),
        ((6, 3, 2), (3, 0, 1)),
        ((6, 1, 2), (3, 0, 0)),
        ((1, 7, 1), (1, 3, 3)),
        ((7, 4, 3), (3, 1, 2)),
    ];
    for ((size, window, stride), expected) in cases {
        let g = ConvGeometry::new((size, 4, 1), (window, 1), 1, (stride, 1), Padding::Same);
        let axis = g.unwrap().height;
        assert_eq!((axis.output, axis.before, axis.after), expected, "{size} {window} {stride}");
    }
}

#[test]
fn impossible_geometries_are_refused() {
    let new = |input, kernel, filters, stride| {
        ConvGeometry::new(input, kernel, filters, stride, Padding::Valid)
    };
    assert!(matches!(
        new((2, 9, 1), (3, 3), 1, (1, 1)),
        Err(KernelError::WindowTooLarge { axis: "height", window: 3, size: 2, padding: 0 })
    ));
    for (input, kernel, filters, stride) in [
        ((0, 9, 1), (3, 3), 1, (1, 1)),
        ((9, 9, 0), (3, 3), 1, (1, 1)),
        ((9, 9, 1), (3, 0), 1, (1, 1)),
        ((9, 9, 1), (3, 3), 0, (1, 1)),
        ((9, 9, 1), (3, 3), 1, (0, 1)),
    ] {
        assert!(matches!(new(input, kernel, filters, stride), Err(KernelError::Zero { .. })));
    }
    let huge = new((1 << 30, 1 << 30, 1 << 30), (3, 3), 1, (1, 1));
    assert!(matches!(huge, Err(KernelError::TooLarge { .. })));
}

#[test]
fn a_wrong_shape_is_named_and_nothing_is_written() {
    let g = ConvGeometry::new((4, 4, 2), (3, 3), 5, (1, 1), Padding::Same).unwrap();
    let x = values((1, 4, 4, 2), 1);
    let weight = values((3, 3, 2, 6), 2);
    let mut out = Array4::from_elem((1, 4, 4, 5), 7.0);
    let error = conv2d(&g, x.view(), weight.view(), None, out.view_mut()).unwrap_err();
    assert_eq!(error.to_string(), "weight: expected shape [3, 3, 2, 5], got [3, 3, 2, 6]");
    assert!(out.iter().all(|&value| value == 7.0));
}
