//! Random numbers as a function of a key and a counter, so that neither the number of threads nor
//! the order of their work changes what is drawn.
//!
//! SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators"): its
//! state is a counter, and any number of its sequence can be asked for.

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Number `counter` of the sequence that `key` starts.
#[inline(always)]
pub(crate) fn bits(key: u64, counter: u64) -> u64 {
    mix(key.wrapping_add(counter.wrapping_add(1).wrapping_mul(STEP)))
}

/// The key of sub-sequence `index` of `key`.
#[inline(always)]
pub(crate) fn child(key: u64, index: u64) -> u64 {
    // Mixed once more: sequences whose keys lie STEP apart would be one sequence, shifted.
    mix(bits(key, index) ^ STEP)
}

#[inline(always)]
fn mix(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The top 24 bits as a number in 0..1.
#[inline(always)]
pub(crate) fn unit(bits: u64) -> f32 {
    (bits >> 40) as f32 / (1 << 24) as f32
}

#[cfg(test)]
mod tests {
    use super::bits;

    /// The first numbers of the reference implementation for seed 1234567, as Rosetta Code's task
    /// "Pseudo-random numbers/Splitmix64" lists them.
    #[test]
    fn the_published_sequence() {
        let expected = [
            6457827717110365317,
            3203168211198807973,
            9817491932198370423,
            4593380528125082431,
            16408922859458223821,
        ];
        assert_eq!([0, 1, 2, 3, 4].map(|counter| bits(1234567, counter)), expected);
    }
}
