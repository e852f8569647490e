//! The operations that move lanes, in every instruction set of this machine.

use super::*;

struct Check;

impl Kernel for Check {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        columns(simd);
        bytes(simd);
        picks(simd);
        for live in 0..1u32 << S::LANES {
            compresses(simd, live);
        }
        sums(simd);
        // All sets of lanes, at each byte, with every kind of winner that is not live.
        for live in 0..1u32 << S::LANES {
            keeps(simd, live, live % 4, if live % 3 == 0 { 4 } else { 4 + (live * 7 % 252) as u8 });
        }
    }
}

#[inline(always)]
fn columns<S: Simd>(simd: S) {
    for stride in [4, 5, 16, 21] {
        let rows: Vec<f32> = (0..S::LANES * stride).map(|k| k as f32).collect();
        // SAFETY: `rows` holds `LANES` rows of four floats or more.
        let columns = unsafe { simd.load_columns(rows.as_ptr(), stride) };
        for (c, column) in columns.into_iter().enumerate() {
            let expected = (0..S::LANES).map(|row| rows[row * stride + c]);
            assert!(lanes(simd, column).into_iter().eq(expected), "column {c} of {stride}");
        }
    }
}

#[inline(always)]
fn bytes<S: Simd>(simd: S) {
    for first in 0..=255u8 {
        let bytes: [u8; 32] = std::array::from_fn(|k| first.wrapping_add(k as u8 / 3));
        for byte in [0, 3, first, first.wrapping_add(10), 255] {
            let expected = bytes.iter().rev().fold(0, |bits, &b| 2 * bits + u32::from(b == byte));
            assert_eq!(simd.bytes_of(&bytes, byte), expected, "{byte} among those from {first}");
        }
    }
    for count in 0..=S::LANES {
        let source: Vec<u8> = (1..=32).collect();
        let mut target = [9; 32];
        // SAFETY: `LANES` bytes are readable, and writable.
        let whole = unsafe {
            let index = simd.load_index(source.as_ptr(), count);
            simd.store_index(target.as_mut_ptr(), count, index);
            let mut whole = [9; 32];
            simd.store_index(whole.as_mut_ptr(), S::LANES, index);
            whole
        };
        assert_eq!(target[..count], source[..count]);
        assert_eq!(target[count..], [9; 32][count..]);
        assert_eq!(whole[..count], source[..count]);
        assert!(whole[count..S::LANES].iter().all(|&byte| byte == 0));
    }
}

fn lanes<S: Simd>(simd: S, vector: S::F32) -> Vec<f32> {
    let mut lanes = vec![0.0; S::LANES];
    // SAFETY: `LANES` floats are writable.
    unsafe { simd.store(lanes.as_mut_ptr(), vector) }
    lanes
}

#[inline(always)]
fn picks<S: Simd>(simd: S) {
    let values: Vec<f32> = (1..=S::LANES).map(|k| k as f32).collect();
    let half = S::LANES / 2;
    let places = [0, half - 1, half, 2 * half - 2].map(|place| place as u32);
    for first in 0..=255u8 {
        let winners: Vec<u8> =
            (0..S::LANES as u8).map(|lane| first.wrapping_add(lane * 3)).collect();
        // SAFETY: `LANES` bytes and as many floats are readable.
        let (winner, swapped) = unsafe {
            let winner = simd.load_index(winners.as_ptr(), S::LANES);
            (winner, simd.load_halves(values[half..].as_ptr(), values.as_ptr()))
        };
        let (kept, place) = simd.place(swapped, winner, places);
        let picked = simd.pick(swapped, simd.shift(place, 1));
        let swapped: Vec<f32> = [&values[half..], &values[..half]].concat();
        let place = |winner: u8| places.get(usize::from(winner)).copied();
        let expected = winners.iter().zip(&swapped).map(|(&w, &x)| place(w).map_or(0.0, |_| x));
        assert!(lanes(simd, kept).into_iter().eq(expected), "winners from {first}");
        let expected = winners.iter().map(|&w| swapped[place(w).unwrap_or(0) as usize + 1]);
        assert!(lanes(simd, picked).into_iter().eq(expected), "winners from {first}");
    }
}

#[inline(always)]
fn compresses<S: Simd>(simd: S, live: u32) {
    let value = |lane: usize| match (live >> lane & 1, lane % 3) {
        (0, 0) => -0.0,
        (0, _) => 0.0,
        (_, 0) => f32::NAN,
        _ => lane as f32 + 0.5,
    };
    let row: Vec<f32> = (0..S::LANES).map(value).collect();
    let (mut values, mut numbers) = ([9.0; 16], [9; 16]);
    // SAFETY: all arrays hold `LANES` elements.
    let count = unsafe {
        let lanes = simd.load(row.as_ptr());
        simd.compress(lanes, 100, values.as_mut_ptr(), numbers.as_mut_ptr())
    };
    let kept: Vec<usize> = (0..S::LANES).filter(|lane| live >> lane & 1 == 1).collect();
    let bits = |lane: usize| row[lane].to_bits();
    assert!(values[..count].iter().map(|v| v.to_bits()).eq(kept.iter().map(|&k| bits(k))));
    assert!(numbers[..count].iter().copied().eq(kept.iter().map(|&lane| 100 + lane as u32)));
}

#[inline(always)]
fn sums<S: Simd>(simd: S) {
    // Each lane has a size of its own, so that another order would round otherwise.
    let value = |k: usize| (k as f32 * 0.37).sin() * 2f32.powi((k * 5 % 23) as i32);
    let rows: Vec<f32> = (0..S::LANES * S::LANES).map(value).collect();
    // SAFETY: `LANES` floats are readable in each row.
    let vectors = rows.chunks_exact(S::LANES).map(|row| unsafe { simd.load(row.as_ptr()) });
    let totals = simd.totals(&vectors.collect::<Vec<_>>());
    let expected = rows.chunks_exact(S::LANES).map(|row| {
        let mut sums = row.to_vec();
        while sums.len() > 1 {
            let (first, second) = sums.split_at(sums.len() / 2);
            sums = first.iter().zip(second).map(|(a, b)| a + b).collect();
        }
        sums[0]
    });
    assert!(lanes(simd, totals).into_iter().eq(expected));
}

#[inline(always)]
fn keeps<S: Simd>(simd: S, live: u32, byte: u32, dead: u8) {
    let places = [10, 200, 3000, 40000];
    let (mut winners, mut starts, mut values) = ([!0u32; 16], [0u32; 16], [0f32; 16]);
    let (mut expected, mut expected_starts) = (Vec::new(), Vec::new());
    for lane in 0..S::LANES {
        let place = (lane * 7 + live as usize) % 4;
        let is_live = live >> lane & 1 == 1;
        let winner = if is_live { place as u32 } else { dead.into() };
        winners[lane] = winners[lane] & !(0xff << (8 * byte)) | winner << (8 * byte);
        (starts[lane], values[lane]) = (lane as u32 * 1_000_000, lane as f32 + 0.5);
        if is_live {
            expected.push(values[lane]);
            expected_starts.push(starts[lane] + places[place]);
        }
    }
    let (mut kept, mut kept_starts) = ([0.0; 16], [0; 16]);
    // SAFETY: all arrays hold `LANES` elements.
    let count = unsafe {
        let values = simd.load(values.as_ptr());
        let (winners, starts) = (winners.as_ptr(), starts.as_ptr());
        let (kept, kept_starts) = (kept.as_mut_ptr(), kept_starts.as_mut_ptr());
        simd.keep_live(values, winners, byte, places, starts, kept, kept_starts)
    };
    assert_eq!(kept[..count], expected[..], "lanes {live:b}");
    assert_eq!(kept_starts[..count], expected_starts[..], "lanes {live:b}");
}

#[test]
fn lanes_move_as_in_a_loop_over_them() {
    for set in Isa::available() {
        match set {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(token) => token.enter(Check),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(token) => token.enter(Check),
            Isa::Portable(token) => Check.run(token),
        }
    }
}
