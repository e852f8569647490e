//! Dense layers against plain loops, with sizes around the blocks of the kernels.

mod common;

use common::{assert_close, rounding, values};
use ferrocnn_kernels::dense::{dense, dense_backward};
use ndarray::{Array1, Array2};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn forward_and_backward(
        batch in 1..40usize,
        inputs in prop_oneof![1..40usize, 120..140usize, 500..530usize],
        outputs in 1..70usize,
        seed: u64,
    ) {
        let x = values((batch, inputs), seed);
        let weight = values((inputs, outputs), seed ^ 1);
        let bias = values(outputs, seed ^ 2);
        let grad = values((batch, outputs), seed ^ 3);
        let wide = |array: &Array2<f32>| array.mapv(f64::from);

        let mut out = Array2::from_elem((batch, outputs), f32::NAN);
        dense(x.view(), weight.view(), Some(bias.view()), out.view_mut()).unwrap();
        let expected = wide(&x).dot(&wide(&weight)) + bias.mapv(f64::from);
        assert_close(&out, &expected, rounding(inputs + 1));

        let mut dx = Array2::from_elem(x.dim(), f32::NAN);
        let mut dweight = Array2::from_elem(weight.dim(), f32::NAN);
        let mut dbias = Array1::from_elem(outputs, f32::NAN);
        dense_backward(
            grad.view(),
            x.view(),
            weight.view(),
            Some(dx.view_mut()),
            dweight.view_mut(),
            dbias.view_mut(),
        )
        .unwrap();
        assert_close(&dx, &wide(&grad).dot(&wide(&weight).t()), rounding(outputs));
        assert_close(&dweight, &wide(&x).t().dot(&wide(&grad)), rounding(batch));
        assert_close(&dbias, &wide(&grad).sum_axis(ndarray::Axis(0)), rounding(batch));
    }
}
