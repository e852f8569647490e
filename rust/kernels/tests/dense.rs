//! Dense layers against plain loops, with sizes around the blocks of the kernels.

mod common;

use common::{assert_close, rounding, values};
use ferrocnn_kernels::dense::{dense, dense_backward, dense_update, dense_weight_gradient};
use ferrocnn_kernels::network::{Images, Layer, forward};
use ferrocnn_kernels::optimizer::{Adam, Lion, Rate, Rule, update};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, azip, s};
use proptest::prelude::*;

type Apply<'a> = dyn Fn(&mut Array2<f32>, Rule<&mut [f32]>) + 'a;

/// Numbers in -1..1 of which this share is zero.
fn values_and_zeros(shape: (usize, usize), zeros: f32, seed: u64) -> Array2<f32> {
    let mut x: Array2<f32> = values(shape, seed);
    let choice: Array2<f32> = values(shape, seed ^ 99);
    x.zip_mut_with(&choice, |x, &choice| *x = if choice < 2.0 * zeros - 1.0 { 0.0 } else { *x });
    x
}

/// Shares of zeros on both sides of that from which on they are left out.
fn shares() -> impl Strategy<Value = f32> {
    prop_oneof![0.0..0.2f32, 0.3..0.7f32, 0.9..1.0f32]
}

/// The layer as networks run it: their weights are finite.
fn run(x: ArrayView2<f32>, weight: &Array2<f32>, bias: &Array1<f32>) -> Array2<f32> {
    let mut out = Array2::from_elem((x.nrows(), weight.ncols()), f32::NAN);
    let mut layer = [Layer::Dense {
        features: weight.dim(),
        weight: weight.as_slice().unwrap(),
        bias: bias.as_slice().unwrap(),
        relu: false,
        out: out.as_slice_mut().unwrap(),
    }];
    forward(x.nrows(), Images::Floats(x.as_slice().unwrap()), &mut layer).unwrap();
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn forward_and_backward(
        batch in 1..40usize,
        inputs in prop_oneof![1..40usize, 120..140usize, 500..530usize],
        outputs in prop_oneof![1..70usize, 120..140usize, 250..300usize],
        zeros in shares(),
        seed: u64,
    ) {
        let x = values((batch, inputs), seed);
        let weight = values((inputs, outputs), seed ^ 1);
        let bias = values(outputs, seed ^ 2);
        let grad = values((batch, outputs), seed ^ 3);
        let wide = |array: &Array2<f32>| array.mapv(f64::from);

        let mut out = Array2::from_elem((batch, outputs), f32::NAN);
        dense(x.view(), weight.view(), Some(bias.view()), false, out.view_mut()).unwrap();
        let expected = wide(&x).dot(&wide(&weight)) + bias.mapv(f64::from);
        assert_close(&out, &expected, rounding(inputs + 1));
        let linear = out.mapv(|value: f32| value.max(0.0).to_bits());
        dense(x.view(), weight.view(), Some(bias.view()), true, out.view_mut()).unwrap();
        prop_assert_eq!(out.mapv(f32::to_bits), linear);

        let mut dx = Array2::from_elem(x.dim(), f32::NAN);
        let mut dweight = Array2::from_elem(weight.dim(), f32::NAN);
        let mut dbias = Array1::from_elem(outputs, f32::NAN);
        let dbias_view = dbias.view_mut();
        dense_backward(grad.view(), weight.view(), None, Some(dx.view_mut()), dbias_view).unwrap();
        dense_weight_gradient(grad.view(), x.view(), dweight.view_mut()).unwrap();
        let expected_dx = wide(&grad).dot(&wide(&weight).t());
        assert_close(&dx, &expected_dx, rounding(outputs));
        assert_close(&dweight, &wide(&x).t().dot(&wide(&grad)), rounding(batch));
        assert_close(&dbias, &wide(&grad).sum_axis(ndarray::Axis(0)), rounding(batch));

        let mut rectified = values_and_zeros((batch, inputs), zeros, seed ^ 4);
        rectified[[batch / 2, inputs / 2]] = -0.0;
        dx.fill(f32::NAN);
        let (x, dx_view, dbias_view) = (Some(rectified.view()), dx.view_mut(), dbias.view_mut());
        dense_backward(grad.view(), weight.view(), x, Some(dx_view), dbias_view).unwrap();
        // Left out, or not.
        azip!((dx in &mut dx, &x in &rectified, &expected in &expected_dx) {
            if x == 0.0 && *dx == 0.0 { *dx = expected as f32 }
        });
        assert_close(&dx, &expected_dx, rounding(outputs));
    }

    /// Alone, an image takes another way, which skips the weights of zero inputs.
    #[test]
    fn an_image_has_the_same_bits_in_any_batch(
        inputs in 1..600usize,
        outputs in prop_oneof![1..70usize, 120..140usize],
        zeros in shares(),
        seed: u64,
    ) {
        let mut x = values_and_zeros((20, inputs), zeros, seed);
        let weight = values((inputs, outputs), seed ^ 1);
        // A bias of -0 and no input: the sum is -0 alone, and 0 with products of 0.
        let mut bias = values(outputs, seed ^ 2);
        bias[0] = -0.0;
        x.row_mut(3).fill(0.0);
        let together = run(x.view(), &weight, &bias);
        for image in 0..x.nrows() {
            let alone = run(x.slice(s![image..=image, ..]), &weight, &bias);
            let bits = |row: ArrayView1<f32>| row.mapv(f32::to_bits);
            prop_assert_eq!(bits(alone.row(0)), bits(together.row(image)));
        }
    }

    #[test]
    fn products_of_zeros_are_left_out_without_a_trace(
        batch in prop_oneof![2..40usize, 60..130usize],
        inputs in prop_oneof![1..40usize, 120..140usize, 500..530usize, 1000..1100usize],
        outputs in prop_oneof![16..70usize, 120..140usize, 250..260usize],
        zeros in shares(),
        seed: u64,
    ) {
        let x = values_and_zeros((batch, inputs), zeros, seed);
        let (weight, bias) = (values((inputs, outputs), seed ^ 1), values(outputs, seed ^ 2));
        // Of weights that it knows nothing about, the function alone leaves nothing out.
        let mut out = Array2::from_elem((batch, outputs), f32::NAN);
        dense(x.view(), weight.view(), Some(bias.view()), false, out.view_mut()).unwrap();
        let listed = run(x.view(), &weight, &bias);
        prop_assert_eq!(listed.mapv(f32::to_bits), out.mapv(f32::to_bits));

        // Nor does the gradient of the weights where one of `grad` is not finite; its other columns
        // do not know.
        let grad = values((batch, outputs), seed ^ 3);
        let mut infinite = grad.clone();
        infinite[(batch / 2, outputs - 1)] = f32::INFINITY;
        let gradient = |grad: &Array2<f32>| {
            let mut dweight = Array2::from_elem((inputs, outputs), f32::NAN);
            dense_weight_gradient(grad.view(), x.view(), dweight.view_mut()).unwrap();
            dweight
        };
        let (listed, whole) = (gradient(&grad), gradient(&infinite));
        let known = s![.., ..outputs - 1];
        prop_assert_eq!(
            listed.slice(known).mapv(f32::to_bits),
            whole.slice(known).mapv(f32::to_bits)
        );
        for (dweight, &x) in whole.column(outputs - 1).iter().zip(x.row(batch / 2)) {
            prop_assert_eq!(dweight.is_nan(), x == 0.0);
        }
    }

    #[test]
    fn update_has_the_bits_of_gradient_and_update(
        batch in 0..40usize,
        inputs in 1..300usize,
        outputs in prop_oneof![1..40usize, 120..140usize],
        rule in 0..5usize,
        weight_decay in prop_oneof![Just(0.0), Just(0.3)],
        zeros in shares(),
        seed: u64,
    ) {
        // Rows that are zero for all images, as behind a ReLU.
        let mut x = values_and_zeros((batch, inputs), zeros, seed);
        x.slice_mut(s![.., ..;3]).fill(0.0);
        let grad = values((batch, outputs), seed ^ 1);
        let mut gradient = Array2::from_elem((inputs, outputs), f32::NAN);
        dense_weight_gradient(grad.view(), x.view(), gradient.view_mut()).unwrap();

        let start = [2, 3, 4].map(|n| values((inputs, outputs), seed ^ n));
        let step = |apply: &Apply| {
            let [mut weight, mut first, mut second] = start.clone();
            second.mapv_inplace(f32::abs);
            let (one, two) = (first.as_slice_mut().unwrap(), second.as_slice_mut().unwrap());
            let rate = Rate::new(0.1, weight_decay);
            let rule = match rule {
                0 => Rule::Sgd { rate },
                1 | 2 => {
                    Rule::Momentum { rate, momentum: 0.9, nesterov: rule == 2, velocity: one }
                }
                3 => Rule::Lion { constants: Lion::new(rate, (0.9, 0.99)), moment: one },
                _ => Rule::Adam {
                    constants: Adam::new(3, (0.1, weight_decay), (0.9, 0.999), 1e-8),
                    first_moment: one,
                    second_moment: two,
                },
            };
            apply(&mut weight, rule);
            [weight, first, second].map(|array| array.mapv(f32::to_bits))
        };
        let folded = step(&|weight, rule| {
            dense_update(grad.view(), x.view(), weight.view_mut(), rule).unwrap();
        });
        let apart = step(&|weight, rule| {
            update(weight.as_slice_mut().unwrap(), gradient.as_slice().unwrap(), rule).unwrap();
        });
        prop_assert_eq!(folded, apart);
    }
}

/// More images than are computed at a time, the last by itself, and several blocks of inputs.
#[test]
fn the_last_image_of_many_has_the_bits_that_it_has_alone() {
    let (batch, inputs, outputs) = (65, 2100, 1000);
    let x = values_and_zeros((batch, inputs), 0.4, 1);
    let (weight, bias) = (values((inputs, outputs), 2), values(outputs, 3));
    let together = run(x.view(), &weight, &bias);
    let wide = |array: &Array2<f32>| array.mapv(f64::from);
    let expected = wide(&x).dot(&wide(&weight)) + bias.mapv(f64::from);
    assert_close(&together, &expected, rounding(inputs + 1));
    for image in [0, 15, 63, 64] {
        let alone = run(x.slice(s![image..=image, ..]), &weight, &bias);
        let bits = |row: ArrayView1<f32>| row.mapv(f32::to_bits);
        assert_eq!(bits(alone.row(0)), bits(together.row(image)), "image {image}");
    }
}
