//! A training step allocates nothing once its working memory is there.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::values;
use ferrocnn_kernels::activation::{Activation, activation_backward};
use ferrocnn_kernels::augment::{Plan, augment, mix};
use ferrocnn_kernels::batch_norm::{BatchNorm, Moments, batch_norm_backward};
use ferrocnn_kernels::conv::{
    After, Filters, Parameters, conv_backward, conv_pool_backward, conv2d_backward,
};
use ferrocnn_kernels::dense::{dense, dense_backward, dense_squared_norm, dense_update};
use ferrocnn_kernels::dropout::dropout_backward;
use ferrocnn_kernels::network::{Images, Layer, forward};
use ferrocnn_kernels::optimizer::{Adam, Rate, Rule, average, update};
use ferrocnn_kernels::pool::{average_pool_backward, max_pool_backward};
use ferrocnn_kernels::range::finite_range;
use ferrocnn_kernels::squared_norm::squared_norm;
use ferrocnn_kernels::threads::set_threads;
use ferrocnn_kernels::{BlockGeometry, ConvGeometry, Padding, PoolGeometry};
use ndarray::{Array1, Array2, Array4};

struct Counting;

thread_local! {
    // Of each thread its own: those of the test harness allocate when they please.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: the system's allocator, and a count.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: what the trait asks of the caller.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: what the trait asks of the caller.
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs a step three times; only the first may allocate.
fn assert_allocates_once(mut step: impl FnMut()) {
    // One thread, this one: which of several takes a task, and so needs memory of its own, is left
    // to chance.
    set_threads(1).unwrap();
    let counts = [(); 3].map(|()| {
        let before = ALLOCATIONS.get();
        step();
        ALLOCATIONS.get() - before
    });
    assert!(counts[0] > 0, "the count works");
    assert_eq!(counts[1..], [0, 0], "{counts:?}");
}

/// Several blocks of inputs, and more images than are computed at a time.
#[test]
fn a_large_dense_layer_allocates_nothing_after_the_first() {
    let (x, weight) = (values((500, 1100), 1), values((1100, 99), 2));
    let mut out = Array2::zeros((500, 99));
    assert_allocates_once(|| {
        dense(x.view(), weight.view(), None, true, out.view_mut()).unwrap();
    });
}

#[test]
fn a_step_allocates_nothing_after_the_first() {
    let batch = 10;
    let first = BlockGeometry::new((20, 20, 3), (3, 3), 8, Padding::Same).unwrap();
    let second = BlockGeometry::new((10, 10, 8), (3, 3), 16, Padding::Same).unwrap();
    let x = values((batch, 20, 20, 3), 1);
    let mut weights = (values((3, 3, 3, 8), 2), values((3, 3, 8, 16), 3));
    let mut filters = (Filters::default(), Filters::default());
    let mut weight = values((400, 9), 4);
    let biases = (values(8, 5), values(16, 6), values(9, 7));
    let mut ys = (Array4::zeros((batch, 10, 10, 8)), Array4::zeros((batch, 5, 5, 16)));
    let mut winners = (Array4::zeros((batch, 10, 10, 8)), Array4::zeros((batch, 5, 5, 16)));
    let mut out = Array2::zeros((batch, 9));
    let mut dx = (Array4::zeros(ys.0.dim()), Array4::zeros(ys.1.dim()));
    let mut dweights = (Array4::zeros((3, 3, 3, 8)), Array4::zeros((3, 3, 8, 16)));
    let mut dbiases = (Array1::zeros(8), Array1::zeros(16), Array1::zeros(9));
    let (mut moments, mut free) = ((vec![0.0; 3600], vec![0.0; 3600]), values(216, 8));
    let mut averaged = vec![0.0; 216];

    let plan = Plan {
        crop: 0.5,
        flip: true,
        shift: 2,
        rotate: 10.0,
        brightness: 0.1,
        contrast: 0.1,
        saturation: 0.1,
        cutout: 3,
    };
    let pictures = Array4::zeros((batch, 25, 24, 3));
    let mut augmented = Array4::zeros((batch, 20, 20, 3));
    let partners: Vec<i64> = (0..batch as i64).rev().collect();

    assert_allocates_once(|| {
        weights.0[[0, 0, 0, 0]] += 1.0;
        augment(&plan, pictures.view(), 1, augmented.view_mut()).unwrap();
        mix(augmented.view_mut(), &partners, &[0.3; 10]).unwrap();
        let mut layers = [
            Layer::ConvPool {
                geometry: &first,
                parameters: Parameters {
                    weight: weights.0.as_slice().unwrap(),
                    bias: biases.0.as_slice().unwrap(),
                    filters: &mut filters.0,
                },
                after: After::RELU,
                out: ys.0.as_slice_mut().unwrap(),
                winners: winners.0.as_slice_mut().unwrap(),
            },
            Layer::ConvPool {
                geometry: &second,
                parameters: Parameters {
                    weight: weights.1.as_slice().unwrap(),
                    bias: biases.1.as_slice().unwrap(),
                    filters: &mut filters.1,
                },
                after: After::RELU,
                out: ys.1.as_slice_mut().unwrap(),
                winners: winners.1.as_slice_mut().unwrap(),
            },
            Layer::Dense {
                features: (400, 9),
                weight: weight.as_slice().unwrap(),
                bias: biases.2.as_slice().unwrap(),
                relu: true,
                out: out.as_slice_mut().unwrap(),
            },
        ];
        forward(batch, Images::Floats(x.as_slice().unwrap()), &mut layers).unwrap();

        let flat = dx.1.view_mut().into_shape_with_order((batch, 400)).unwrap();
        let input = Some(ys.1.view().into_shape_with_order((batch, 400)).unwrap());
        dense_backward(out.view(), weight.view(), input, Some(flat), dbiases.2.view_mut()).unwrap();
        conv_pool_backward(
            &second,
            dx.1.view(),
            winners.1.view(),
            true,
            ys.0.view(),
            weights.1.view(),
            Some(dx.0.view_mut()),
            dweights.1.view_mut(),
            dbiases.1.view_mut(),
        )
        .unwrap();
        conv_pool_backward(
            &first,
            dx.0.view(),
            winners.0.view(),
            true,
            x.view(),
            weights.0.view(),
            None,
            dweights.0.view_mut(),
            dbiases.0.view_mut(),
        )
        .unwrap();

        let gradient = dweights.0.as_slice().unwrap();
        assert!(finite_range(gradient).is_some());
        let sgd = Rule::Sgd { rate: Rate::new(0.1, 0.01) };
        update(free.as_slice_mut().unwrap(), gradient, sgd).unwrap();
        let adam = Rule::Adam {
            constants: Adam::new(1, (1e-3, 0.01), (0.9, 0.999), 1e-8),
            first_moment: &mut moments.0[..],
            second_moment: &mut moments.1[..],
        };
        let flat = ys.1.view().into_shape_with_order((batch, 400)).unwrap();
        assert!(dense_squared_norm(out.view(), flat).unwrap() + squared_norm(gradient) > 0.0);
        dense_update(out.view(), flat, weight.view_mut(), adam).unwrap();
        average(&mut averaged, free.as_slice().unwrap(), 0.999).unwrap();
    });
}

/// The layers that the step above lacks, forward and backward, and a batch norm at inference.
#[test]
fn no_kind_of_layer_allocates_after_the_first_step() {
    let batch = 6;
    let stride = (2, 2);
    let conv = ConvGeometry::new((24, 24, 3), (3, 3), 8, stride, Padding::Same).unwrap();
    let pool = |size, channels| {
        PoolGeometry::new((size, size, channels), (2, 2), (2, 2), Padding::Valid).unwrap()
    };
    let (max, average) = (pool(12, 8), pool(6, 8));
    let block = BlockGeometry::new((3, 3, 8), (2, 2), 5, Padding::Same).unwrap();
    let x = Array4::<u8>::from_elem((batch, 24, 24, 3), 77);
    let weights = (values((3, 3, 3, 8), 1), values((2, 2, 8, 5), 2), values((5, 4), 3));
    let mut filters = (Filters::default(), Filters::default());
    let bias = values((3, 3, 3, 8), 4);
    let bias = bias.as_slice().unwrap();
    let channels = &bias[..8];
    let norm =
        BatchNorm { gamma: channels, beta: channels, epsilon: 1e-5, activation: Activation::Gelu };
    let (mut mean, mut variance) = ([0.0; 8], [0.0; 8]);
    let (image, variances) = (6 * 6 * 8, [2.0; 8]);
    let mut convolved = Array4::zeros((batch, 12, 12, 8));
    let mut winners = Array4::zeros((batch, 6, 6, 8));
    let (mut last, mut of_last) = (vec![0.0; batch * 5], vec![0; batch * 5]);
    let mut outs: [Array4<f32>; 5] = std::array::from_fn(|_| Array4::zeros((batch, 6, 6, 8)));
    let mut averaged = vec![0.0; batch * 3 * 3 * 8];
    let (mut kept, mut out) = (vec![0.0; batch * 5], vec![0.0; batch * 4]);

    assert_allocates_once(|| {
        let [pooled, normed, active, dropped, again] = &mut outs;
        let mut layers = [
            Layer::Conv {
                geometry: &conv,
                parameters: Parameters {
                    weight: weights.0.as_slice().unwrap(),
                    bias: channels,
                    filters: &mut filters.0,
                },
                out: convolved.as_slice_mut().unwrap(),
            },
            Layer::MaxPool {
                geometry: &max,
                out: pooled.as_slice_mut().unwrap(),
                winners: winners.as_slice_mut().unwrap(),
            },
            Layer::BatchNorm {
                norm,
                image,
                moments: Moments { mean: &mut mean[..], variance: &mut variance[..] },
                out: normed.as_slice_mut().unwrap(),
            },
            Layer::Activation {
                kind: Activation::Silu,
                image,
                out: active.as_slice_mut().unwrap(),
            },
            Layer::Dropout {
                rate: 0.5,
                key: 3,
                image,
                channels: Some(8),
                out: dropped.as_slice_mut().unwrap(),
            },
            Layer::BatchNormInference {
                norm,
                image,
                moments: Moments { mean: channels, variance: &variances[..] },
                out: again.as_slice_mut().unwrap(),
            },
            Layer::AveragePool { geometry: &average, out: &mut averaged },
            Layer::ConvPool {
                geometry: &block,
                parameters: Parameters {
                    weight: weights.1.as_slice().unwrap(),
                    bias: &bias[..5],
                    filters: &mut filters.1,
                },
                after: After { affine: Some((&bias[..5], &bias[..5])), relu: false },
                out: &mut last,
                winners: &mut of_last,
            },
            Layer::Dropout { rate: 0.5, key: 3, image: 5, channels: None, out: &mut kept },
            Layer::Dense {
                features: (5, 4),
                weight: weights.2.as_slice().unwrap(),
                bias: &bias[..4],
                relu: false,
                out: &mut out,
            },
        ];
        forward(batch, Images::Bytes(x.as_slice().unwrap()), &mut layers).unwrap();
        let _ = layers;

        // Backward, in buffers of the right size that forward is done with.
        let [pooled, normed, grad, _, _] = &mut outs;
        let flat = ndarray::ArrayView4::from_shape((batch, 3, 3, 8), &averaged).unwrap();
        average_pool_backward(&average, flat, grad.view_mut()).unwrap();
        let flat = grad.as_slice_mut().unwrap();
        dropout_backward(0.5, 3, image, Some(8), flat).unwrap();
        activation_backward(Activation::Silu, flat, normed.as_slice().unwrap()).unwrap();
        let moments = Moments { mean: &mean[..], variance: &variance[..] };
        let (mut dgamma, mut dbeta) = ([0.0; 8], [0.0; 8]);
        let x_of_norm = pooled.as_slice().unwrap();
        batch_norm_backward(norm, image, flat, x_of_norm, moments, &mut dgamma, &mut dbeta)
            .unwrap();
        max_pool_backward(&max, grad.view(), winners.view(), convolved.view_mut()).unwrap();
        let (mut dweight, mut dbias) = ([0.0; 216], [0.0; 8]);
        conv2d_backward(
            &conv,
            convolved.view(),
            x.view(),
            weights.0.view(),
            None,
            ndarray::ArrayViewMut4::from_shape((3, 3, 3, 8), &mut dweight).unwrap(),
            ndarray::ArrayViewMut1::from(&mut dbias[..]),
        )
        .unwrap();
        assert!(finite_range(&dweight).is_some());
    });
}

#[test]
fn the_winograd_gradients_allocate_nothing_after_the_first() {
    let g = BlockGeometry::new((9, 11, 32), (3, 3), 33, Padding::Same).unwrap();
    let (x, weight) = (values((5, 9, 11, 32), 1), values((3, 3, 32, 33), 2));
    let (pooled, whole) = (values((5, 4, 5, 33), 3), values((5, 9, 11, 33), 4));
    let winners = Array4::zeros(pooled.dim());
    let (mut dx, mut dweight) = (Array4::zeros(x.dim()), Array4::zeros(weight.dim()));
    let mut dbias = Array1::zeros(33);
    assert_allocates_once(|| {
        conv_pool_backward(
            &g,
            pooled.view(),
            winners.view(),
            false,
            x.view(),
            weight.view(),
            Some(dx.view_mut()),
            dweight.view_mut(),
            dbias.view_mut(),
        )
        .unwrap();
        let dx = Some(dx.view_mut());
        let (dweight, dbias) = (dweight.view_mut(), dbias.view_mut());
        conv_backward(&g.conv, whole.view(), x.view(), weight.view(), dx, dweight, dbias).unwrap();
    });
}
