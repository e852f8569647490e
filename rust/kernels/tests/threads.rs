//! Equal bits for any number of threads, and a pool that is used from anywhere.

mod common;

use common::values;
use ferrocnn_kernels::activation::{Activation, activation, activation_backward};
use ferrocnn_kernels::batch_norm::{BatchNorm, Moments, batch_norm, batch_norm_backward};
use ferrocnn_kernels::conv::{After, conv_pool, conv_pool_backward, conv2d, conv2d_backward};
use ferrocnn_kernels::dense::{dense, dense_backward, dense_weight_gradient};
use ferrocnn_kernels::dropout::{dropout, dropout_backward};
use ferrocnn_kernels::threads::{set_threads, threads};
use ferrocnn_kernels::{BlockGeometry, ConvGeometry, Padding};
use ndarray::{Array, Array1, Array2, Array4, Dimension};

fn bits<D: Dimension>(arrays: impl IntoIterator<Item = Array<f32, D>>) -> Vec<u32> {
    arrays.into_iter().flatten().map(f32::to_bits).collect()
}

fn convolution(batch: usize) -> Vec<u32> {
    let g = ConvGeometry::new((12, 12, 5), (3, 3), 7, (1, 1), Padding::Same).unwrap();
    let (x, grad) = (values((batch, 12, 12, 5), 1), values((batch, 12, 12, 7), 2));
    let weight = values((3, 3, 5, 7), 3);
    let mut out = Array4::zeros(grad.dim());
    conv2d(&g, x.view(), weight.view(), None, out.view_mut()).unwrap();
    let (mut dx, mut dweight) = (Array4::zeros(x.dim()), Array4::zeros(weight.dim()));
    let mut dbias = Array1::zeros(7);
    let (grad, x, weight) = (grad.view(), x.view(), weight.view());
    conv2d_backward(&g, grad, x, weight, Some(dx.view_mut()), dweight.view_mut(), dbias.view_mut())
        .unwrap();
    [bits([out, dx, dweight]), bits([dbias])].concat()
}

fn block(batch: usize, (height, width): (usize, usize), channels: usize) -> Vec<u32> {
    let g = BlockGeometry::new((height, width, channels), (3, 3), 33, Padding::Same).unwrap();
    let x = values((batch, height, width, channels), 1);
    let weight = values((3, 3, channels, 33), 2);
    let (bias, grad) = (values(33, 3), values((batch, height / 2, width / 2, 33), 4));
    let (mut out, mut winners) = (Array4::zeros(grad.dim()), Array4::zeros(grad.dim()));
    let after = After::RELU;
    conv_pool(&g, x.view(), weight.view(), bias.view(), after, out.view_mut(), winners.view_mut())
        .unwrap();
    let mut all = bits([out]);
    for relu in [false, true] {
        let (mut dx, mut dweight) = (Array4::zeros(x.dim()), Array4::zeros(weight.dim()));
        let mut dbias = Array1::zeros(33);
        conv_pool_backward(
            &g,
            grad.view(),
            winners.view(),
            relu,
            x.view(),
            weight.view(),
            Some(dx.view_mut()),
            dweight.view_mut(),
            dbias.view_mut(),
        )
        .unwrap();
        all.extend([bits([dx, dweight]), bits([dbias])].concat());
    }
    all
}

/// Forward and backward of batch norm and each activation.
fn normalised(batch: usize, (image, channels): (usize, usize)) -> Vec<u32> {
    let (x, grad) = (values(batch * image, 1), values(batch * image, 2));
    let (gamma, beta) = (values(channels, 3), values(channels, 4));
    let (x, gamma, beta) =
        (x.as_slice().unwrap(), gamma.as_slice().unwrap(), beta.as_slice().unwrap());
    let mut all = Vec::new();
    for (_, activation) in Activation::NAMES {
        let norm = BatchNorm { gamma, beta, epsilon: 1e-5, activation };
        let (mut mean, mut variance) = (vec![0.0; channels], vec![0.0; channels]);
        let (mut out, mut dx) = (vec![0.0; x.len()], grad.to_vec());
        let moments = Moments { mean: &mut mean[..], variance: &mut variance[..] };
        batch_norm(norm, image, x, moments, &mut out).unwrap();
        let (mut dgamma, mut dbeta) = (vec![0.0; channels], vec![0.0; channels]);
        let moments = Moments { mean: &mean[..], variance: &variance[..] };
        batch_norm_backward(norm, image, &mut dx, x, moments, &mut dgamma, &mut dbeta).unwrap();
        all.extend([mean, variance, out, dx, dgamma, dbeta].concat());
    }
    all.into_iter().map(f32::to_bits).collect()
}

/// Forward and backward of each activation and of both kinds of dropout.
fn pointwise(batch: usize, (image, channels): (usize, usize)) -> Vec<u32> {
    let (x, grad) = (values(batch * image, 1).to_vec(), values(batch * image, 2).to_vec());
    let mut all = Vec::new();
    for (_, kind) in Activation::NAMES {
        let (mut out, mut dx) = (vec![0.0; x.len()], grad.clone());
        activation(kind, &x, &mut out).unwrap();
        activation_backward(kind, &mut dx, &x).unwrap();
        all.extend([out, dx].concat());
    }
    for channels in [None, Some(channels)] {
        let (mut out, mut dx) = (vec![0.0; x.len()], grad.clone());
        dropout(0.3, 7, image, channels, &x, &mut out).unwrap();
        dropout_backward(0.3, 7, image, channels, &mut dx).unwrap();
        all.extend([out, dx].concat());
    }
    all.into_iter().map(f32::to_bits).collect()
}

fn dense_layer(batch: usize) -> Vec<u32> {
    let (x, grad) = (values((batch, 1100), 4), values((batch, 99), 5));
    let weight = values((1100, 99), 6);
    let rectified = x.mapv(|x: f32| x.max(0.0));
    let mut out = Array2::zeros(grad.dim());
    dense(x.view(), weight.view(), None, false, out.view_mut()).unwrap();
    let (mut dx, mut dweight) = (Array2::zeros(x.dim()), Array2::zeros(weight.dim()));
    let mut dbias = Array1::zeros(99);
    dense_backward(grad.view(), weight.view(), None, Some(dx.view_mut()), dbias.view_mut())
        .unwrap();
    dense_weight_gradient(grad.view(), x.view(), dweight.view_mut()).unwrap();
    let mut behind_relu = Array2::zeros(x.dim());
    let (dx_view, x) = (Some(behind_relu.view_mut()), Some(rectified.view()));
    dense_backward(grad.view(), weight.view(), x, dx_view, dbias.view_mut()).unwrap();
    [bits([out, dx, dweight, behind_relu]), bits([dbias])].concat()
}

fn results() -> Vec<Vec<u32>> {
    // Small images go several to a task, large ones in bands.
    let blocks = [1, 2, 37].into_iter().flat_map(|batch| {
        let sizes = [(40, 20), (8, 6), (2, 2)];
        sizes.into_iter().flat_map(move |size| {
            [1, 2, 3, 4, 5, 8, 16, 24, 40].map(|channels| block(batch, size, channels))
        })
    });
    let others = [convolution(37), convolution(1), dense_layer(130), dense_layer(1)];
    // Sizes (of an image, channels): a pixel, several pieces, a piece of one pixel.
    let sizes = [(7, 7), (9000, 24), (15_000, 3), (9990, 4995)];
    let norms = [1, 2, 37].into_iter().flat_map(|batch| {
        sizes.into_iter().flat_map(move |size| [normalised(batch, size), pointwise(batch, size)])
    });
    blocks.into_iter().chain(others).chain(norms).collect()
}

// One test: the number of threads belongs to the whole process.
#[test]
fn equal_bits_for_any_number_of_threads_and_from_any_thread() {
    set_threads(1).unwrap();
    let expected = results();
    for count in [2, 3, 8] {
        set_threads(count).unwrap();
        assert_eq!(threads(), Ok(count));
        assert!(results() == expected, "{count} threads");
    }
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4).map(|_| scope.spawn(results)).collect();
        for caller in callers {
            assert!(caller.join().unwrap() == expected);
        }
    });
}
