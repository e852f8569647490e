//! A training step allocates nothing once its working memory is there.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use common::values;
use ferrocnn_kernels::augment::{Plan, augment, mix};
use ferrocnn_kernels::conv::conv_pool_relu_backward;
use ferrocnn_kernels::dense::{dense_backward, dense_squared_norm, dense_update};
use ferrocnn_kernels::network::{Images, Layer, forward};
use ferrocnn_kernels::norm::squared_norm;
use ferrocnn_kernels::optimizer::{Adam, Rate, Rule, average, update};
use ferrocnn_kernels::range::finite_range;
use ferrocnn_kernels::threads::set_threads;
use ferrocnn_kernels::{BlockGeometry, Padding};
use ndarray::{Array1, Array2, Array4};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator, and a count.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_step_allocates_nothing_after_the_first() {
    // One thread: which of several takes a task, and so needs memory of its own, is left to chance.
    set_threads(1).unwrap();
    let batch = 10;
    let first = BlockGeometry::new((20, 20, 3), (3, 3), 8, Padding::Same).unwrap();
    let second = BlockGeometry::new((10, 10, 8), (3, 3), 16, Padding::Same).unwrap();
    let x = values((batch, 20, 20, 3), 1);
    let weights = (values((3, 3, 3, 8), 2), values((3, 3, 8, 16), 3));
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

    let mut counts = Vec::new();
    for _ in 0..3 {
        let before = ALLOCATIONS.load(Relaxed);
        augment(&plan, pictures.view(), 1, augmented.view_mut()).unwrap();
        mix(augmented.view_mut(), &partners, &[0.3; 10]).unwrap();
        let mut layers = [
            Layer::Block {
                geometry: &first,
                weight: weights.0.as_slice().unwrap(),
                bias: biases.0.as_slice().unwrap(),
                out: ys.0.as_slice_mut().unwrap(),
                winners: winners.0.as_slice_mut().unwrap(),
            },
            Layer::Block {
                geometry: &second,
                weight: weights.1.as_slice().unwrap(),
                bias: biases.1.as_slice().unwrap(),
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
        dense_backward(out.view(), weight.view(), Some(flat), dbiases.2.view_mut()).unwrap();
        conv_pool_relu_backward(
            &second,
            dx.1.view(),
            winners.1.view(),
            ys.0.view(),
            weights.1.view(),
            Some(dx.0.view_mut()),
            dweights.1.view_mut(),
            dbiases.1.view_mut(),
        )
        .unwrap();
        conv_pool_relu_backward(
            &first,
            dx.0.view(),
            winners.0.view(),
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
        counts.push(ALLOCATIONS.load(Relaxed) - before);
    }
    assert!(counts[0] > 0, "the count works");
    assert_eq!(counts[1..], [0, 0], "{counts:?}");
}
