//! The live elements of a band, in a list for each output channel.

use super::cut::{Band, Cut};
use crate::conv::OFF;
use crate::conv::block::Pooled;
use crate::simd::Simd;

/// Channels that are listed together: as many winners as a `u32` holds.
pub(super) const TOGETHER: usize = 4;
/// Channels whose winners are packed together.
pub(super) const PACKED: usize = 4 * TOGETHER;

/// The pooled elements of a band, (position, channel), and the pixel at which the windows of each
/// position start.
pub(super) struct Positions<'a> {
    grads: &'a [f32],
    winners: &'a [u8],
    pixels: &'a [u32],
    channels: usize,
    /// How far the window of each winner is from there.
    places: [u32; 4],
}

/// What lists are made in, with room for all positions of a band.
pub(super) struct Memory<'a> {
    /// For each `TOGETHER` of `PACKED` channels their winners, a byte each.
    pub winners: &'a mut [u32],
    /// For each of `TOGETHER` channels.
    pub factors: &'a mut [f32],
    pub pixels: &'a mut [u32],
}

/// The live elements of a channel: their gradients, and the pixels at which their winners' windows
/// start.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a> {
    pub factors: &'a [f32],
    pub pixels: &'a [u32],
}

impl<'a> Positions<'a> {
    #[inline(always)]
    pub fn new(pooled: Pooled<'a>, cut: &Cut, band: &Band, pixels: &'a mut [u32]) -> Self {
        let channels = pooled.geometry.conv.out_channels;
        let (width, (rows, columns)) = (cut.pooled.1, cut.padded);
        let mut count = 0;
        for image in 0..band.images.len() {
            for y in 0..band.rows.len() {
                for x in 0..width {
                    pixels[count] = ((image * rows + 2 * y) * columns + 2 * x) as u32;
                    count += 1;
                }
            }
        }
        let elements = cut.outputs(band, channels);
        assert_eq!(elements.len(), count * channels);
        let columns = columns as u32;
        Self {
            grads: &pooled.grad[elements.clone()],
            winners: &pooled.winners[elements],
            pixels: &pixels[..count],
            channels,
            places: [0, 1, columns, columns + 1],
        }
    }

    /// Packs the winners of up to `PACKED` channels from `first` on.
    #[inline(always)]
    pub fn pack<S: Simd>(&self, simd: S, first: usize, memory: &mut Memory) {
        let (count, channels) = (self.pixels.len(), self.channels);
        let quads = PACKED.min(channels - first) / TOGETHER;
        assert!(self.winners.len() == count * channels && memory.winners.len() >= quads * count);
        let transposes = quads == PACKED / TOGETHER
            && channels.is_multiple_of(TOGETHER)
            && cfg!(target_endian = "little");
        let whole = if transposes { count / S::LANES * S::LANES } else { 0 };
        for position in (0..whole).step_by(S::LANES) {
            // SAFETY: `whole <= count` positions have `first + PACKED <= channels` bytes, which are
            // four floats, and rows of bytes are `channels / TOGETHER` floats apart; memory has room
            // for `count` packs of each of the four.
            unsafe {
                let winners = self.winners.as_ptr().add(position * channels + first);
                let packs = simd.load_columns(winners.cast(), channels / TOGETHER);
                for (k, &pack) in packs.iter().enumerate() {
                    simd.store(memory.winners.as_mut_ptr().add(k * count + position).cast(), pack);
                }
            }
        }
        for position in whole..count {
            let winners = &self.winners[position * channels + first..];
            let packs = winners.as_chunks::<TOGETHER>().0.iter().take(quads);
            for (k, &pack) in packs.enumerate() {
                memory.winners[k * count + position] = u32::from_le_bytes(pack);
            }
        }
    }

    /// Lists the live elements of up to `TOGETHER` channels from `first` on, whose winners are packed.
    #[inline(always)]
    pub fn list<'m, S: Simd>(
        &self,
        simd: S,
        first: usize,
        memory: &'m mut Memory,
    ) -> [Terms<'m>; TOGETHER] {
        let (count, channels) = (self.pixels.len(), self.channels);
        let together = TOGETHER.min(channels - first);
        let whole = if together == TOGETHER { count / S::LANES * S::LANES } else { 0 };
        let mut lists = [(); TOGETHER].map(|()| 0);
        assert!(self.grads.len() == count * channels && self.winners.len() == count * channels);
        assert!(memory.factors.len() >= TOGETHER * count);
        assert!(memory.pixels.len() >= TOGETHER * count);
        let winners = memory.winners[first % PACKED / TOGETHER * count..][..whole].as_ptr();
        for position in (0..whole).step_by(S::LANES) {
            // SAFETY: `whole <= count` positions have `first + TOGETHER <= channels` elements, and
            // a list has no more than `position` yet, so there is room for `LANES` more.
            unsafe {
                let element = position * channels + first;
                let grads = simd.load_columns(self.grads.as_ptr().add(element), channels);
                for (k, live) in lists.iter_mut().enumerate() {
                    *live += simd.keep_live(
                        grads[k],
                        winners.add(position),
                        k as u32,
                        self.places,
                        self.pixels.as_ptr().add(position),
                        memory.factors.as_mut_ptr().add(k * count + *live),
                        memory.pixels.as_mut_ptr().add(k * count + *live),
                    );
                }
            }
        }
        for (k, live) in lists.iter_mut().enumerate().take(together) {
            for position in whole..count {
                let element = position * channels + first + k;
                let winner = self.winners[element];
                if winner < OFF {
                    let place = self.places[usize::from(winner)];
                    memory.factors[k * count + *live] = self.grads[element];
                    memory.pixels[k * count + *live] = self.pixels[position] + place;
                    *live += 1;
                }
            }
        }
        std::array::from_fn(|k| {
            let list = k * count..k * count + lists[k];
            Terms { factors: &memory.factors[list.clone()], pixels: &memory.pixels[list] }
        })
    }
}
