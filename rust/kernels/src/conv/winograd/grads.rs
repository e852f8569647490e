//! The output gradients in the other basis, `A dY A^T`.

use super::transforms::transform_grad;
use super::{GAP, INPUTS, OUTPUTS, POOLED};
use crate::conv::OFF;
use crate::simd::{Simd, add_to_slice, from_slice, to_slice};

/// The output gradient of some whole images.
#[derive(Clone, Copy)]
pub(in crate::conv) enum Grad<'a> {
    /// That of the max pool, (image, height, width, channel) of the pooled outputs, and the winners:
    /// the others of each window are zero.
    Pooled(&'a [f32], &'a [u8]),
    /// That of the convolution itself.
    Whole(&'a [f32]),
}

impl<'a> Grad<'a> {
    /// That of some of the images, given as a range of its elements.
    pub fn part(&self, range: std::ops::Range<usize>) -> Grad<'a> {
        match *self {
            Grad::Pooled(grad, winners) => Grad::Pooled(&grad[range.clone()], &winners[range]),
            Grad::Whole(grad) => Grad::Whole(&grad[range]),
        }
    }

    /// Side of a tile in elements.
    pub fn side(&self) -> usize {
        match self {
            Grad::Pooled(..) => POOLED,
            Grad::Whole(..) => OUTPUTS,
        }
    }
}

/// Some rows of tiles of some images.
pub(super) struct Grads<'a> {
    pub grad: Grad<'a>,
    /// Height, width and channels of `grad`.
    pub shape: [usize; 3],
    /// The first row of tiles.
    pub top: usize,
    /// Tiles of each image from there on, rows and columns.
    pub grid: (usize, usize),
    pub tiles: usize,
    /// (plane, tile, channel), to be written.
    pub grads: &'a mut [f32],
    /// The sums over all pixels, added to.
    pub dbias: &'a mut [f32],
}

impl Grads<'_> {
    /// Fills `grads`.
    #[inline(always)]
    pub fn transform<S: Simd>(&mut self, simd: S) {
        let [height, width, channels] = self.shape;
        let side = self.grad.side();
        for c in (0..channels).step_by(S::LANES) {
            let count = (channels - c).min(S::LANES);
            let mut bias = simd.splat(0.0);
            for tile in 0..self.tiles {
                let (y, x) = (tile / self.grid.1, side * (tile % self.grid.1));
                let (image, y) = (y / self.grid.0, side * (self.top + y % self.grid.0));
                let at = ((image * height + y) * width + x) * channels + c;
                let extent = (height - y, width - x);
                let dy = match self.grad {
                    Grad::Pooled(grad, winners) => {
                        self.pooled(simd, (&grad[at..], &winners[at..]), extent, count)
                    }
                    Grad::Whole(grad) => self.whole(simd, &grad[at..], extent, count),
                };
                for row in &dy {
                    for &lanes in row {
                        bias = simd.add(bias, lanes);
                    }
                }
                self.store(simd, dy, tile, c, count);
            }
            add_to_slice(simd, &mut self.dbias[c..][..count], bias);
        }
    }

    /// The gradients of a tile from those of its windows; zeros outside `extent`.
    #[inline(always)]
    fn pooled<S: Simd>(
        &self,
        simd: S,
        (grad, winners): (&[f32], &[u8]),
        extent: (usize, usize),
        count: usize,
    ) -> [[S::F32; OUTPUTS]; OUTPUTS] {
        let [_, width, channels] = self.shape;
        let mut dy = [[simd.splat(0.0); OUTPUTS]; OUTPUTS];
        for y in 0..POOLED {
            for x in 0..POOLED {
                if y >= extent.0 || x >= extent.1 {
                    continue;
                }
                let at = (y * width + x) * channels;
                let (grad, winners) = (&grad[at..][..count], &winners[at..][..count]);
                let grad = from_slice(simd, grad);
                // SAFETY: the slice holds `count` bytes.
                let winner = unsafe { simd.load_index(winners.as_ptr(), count) };
                for place in 0..OFF {
                    let (a, b) = (usize::from(place) / 2, usize::from(place) % 2);
                    dy[POOLED * y + a][POOLED * x + b] = simd.select(grad, winner, place);
                }
            }
        }
        dy
    }

    #[inline(always)]
    fn whole<S: Simd>(
        &self,
        simd: S,
        grad: &[f32],
        extent: (usize, usize),
        count: usize,
    ) -> [[S::F32; OUTPUTS]; OUTPUTS] {
        let [_, width, channels] = self.shape;
        let mut dy = [[simd.splat(0.0); OUTPUTS]; OUTPUTS];
        for (y, row) in dy.iter_mut().enumerate().take(extent.0) {
            for (x, lanes) in row.iter_mut().enumerate().take(extent.1) {
                let grad = &grad[(y * width + x) * channels..][..count];
                *lanes = from_slice(simd, grad);
            }
        }
        dy
    }

    #[inline(always)]
    fn store<S: Simd>(
        &mut self,
        simd: S,
        dy: [[S::F32; OUTPUTS]; OUTPUTS],
        tile: usize,
        c: usize,
        count: usize,
    ) {
        let channels = self.shape[2];
        let plane = self.tiles * channels + GAP;
        let mut columns = [[simd.splat(0.0); INPUTS]; OUTPUTS];
        for (j, column) in columns.iter_mut().enumerate() {
            *column = transform_grad(simd, [dy[0][j], dy[1][j], dy[2][j], dy[3][j]]);
        }
        let [first, second, third, fourth] = columns;
        for i in 0..INPUTS {
            let row = transform_grad(simd, [first[i], second[i], third[i], fourth[i]]);
            for (j, lanes) in row.into_iter().enumerate() {
                let at = (i * INPUTS + j) * plane + tile * channels + c;
                let target = &mut self.grads[at..][..count];
                to_slice(simd, target, lanes);
            }
        }
    }
}
