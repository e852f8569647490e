//! Small JPEG files to pixels, without Python.
//!
//! Pillow reads pictures of every kind, but half of the time for a small one is Python's, and takes
//! Python's lock. So the plainest kind of file is decoded here: the JPEG File Interchange Format, one
//! baseline scan without restarts, colours or grey, sound to the last byte. Whatever is special about a file, or wrong
//! with it, is left to Pillow: nothing is refused, and nothing mended.

use std::fs::{self, File};
use std::io::Read;
use std::panic::catch_unwind;
use std::path::Path;

use ndarray::{Array3, ArrayViewMut3};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::resize::{Region, resize};

/// Bytes of a file at most.
const LARGEST: u64 = 1 << 20;
/// How a file in the JPEG File Interchange Format begins, but for a length in the middle. Its colours are
/// known to be YCbCr.
const START: ([u8; 4], [u8; 5]) = ([0xFF, 0xD8, 0xFF, 0xE0], *b"JFIF\0");
const END: [u8; 2] = [0xFF, 0xD9];
/// A byte of ones as a scan stores it; two are no Huffman code. The decoder makes up the data that are
/// missing before the end of a file: with ones in their place it finds an error.
const ONES: [u8; 2] = [0xFF, 0x00];

/// Which pictures are decoded here.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Both sides of a picture so long, and it is left alone.
    pub side: usize,
    /// So many pixels a picture has at most.
    pub pixels: f64,
}

/// Overwrites `out`, (height, width, 3), with the picture of a file, resized, and returns true, if it is a
/// plain JPEG file within the limits.
pub fn decode(path: &Path, limits: Limits, mut out: ArrayViewMut3<u8>) -> bool {
    // Of broken files there is no telling.
    let decoded = catch_unwind(|| pixels(read(path)?, limits));
    let Ok(Some(image)) = decoded else { return false };
    if image.dim() == out.dim() {
        out.assign(&image);
        return true;
    }
    let (height, width, _) = image.dim();
    let whole = Region { start: [0.0; 2], size: [height as f64, width as f64] };
    resize(image.view(), whole, out).is_ok()
}

/// The content of a file that begins as a plain one.
fn read(path: &Path) -> Option<Vec<u8>> {
    let status = fs::metadata(path).ok()?; // opening a pipe would wait for ever
    if !status.is_file() || !(1..=LARGEST).contains(&status.len()) {
        return None;
    }
    let (mut file, mut content) = (File::open(path).ok()?, vec![0; 11]);
    file.read_exact(&mut content).ok()?;
    if !content.starts_with(&START.0) || !content.ends_with(&START.1) {
        return None;
    }
    content.reserve(status.len() as usize + 64);
    file.take(LARGEST).read_to_end(&mut content).ok()?;
    Some(content)
}

fn pixels(mut content: Vec<u8>, limits: Limits) -> Option<Array3<u8>> {
    let data = content.strip_suffix(&END)?;
    let [height, width] = plain_size(data)?;
    if height.min(width) >= limits.side || (height * width) as f64 > limits.pixels {
        return None;
    }
    content.truncate(data.len());
    content.extend([ONES; 8].as_flattened());
    content.extend(END);
    let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGB);
    let options = options.set_strict_mode(true);
    let pixels = JpegDecoder::new_with_options(ZCursor::new(&content), options).decode().ok()?;
    Array3::from_shape_vec((height, width, 3), pixels).ok()
}

/// Height and width of the picture, if its file is a plain one: zune-jpeg 0.5.15 makes something else of
/// some files with several scans, and what it makes of rarer colours and samplings is not tested. The
/// segments are those of ITU T.81, annex B.
fn plain_size(content: &[u8]) -> Option<[usize; 2]> {
    let (mut rest, mut frame) = (content.get(2..)?, None);
    loop {
        let &[0xFF, marker, high, low, ..] = rest else { return None };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let segment = rest.get(4..2 + length)?;
        rest = &rest[2 + length..];
        match (marker, frame) {
            (0xC0, None) => frame = Some(plain_frame(segment)?),
            (0xDA, Some((components, size))) => {
                // Behind 0xFF stands 0, or else a mark: of a restart, which is made up for as the end is.
                let data = rest.windows(2).all(|pair| pair[0] != 0xFF || pair[1] == 0);
                return (data && segment.first() == Some(&components)).then_some(size);
            }
            // Tables, comments and what applications add; but EXIF and XMP may say that the picture has to
            // be turned (0xE1), and Adobe's segment is about other colours (0xEE).
            (0xC4 | 0xDB | 0xE0 | 0xE2..=0xED | 0xEF | 0xFE, _) => {}
            _ => return None,
        }
    }
}

/// Number of components, and height and width, of a frame header: three of 8 bits with the first sampled
/// once, twice along the rows, or twice along both axes, or one.
fn plain_frame(segment: &[u8]) -> Option<(u8, [usize; 2])> {
    let &[8, h0, h1, w0, w1, components, ref each @ ..] = segment else { return None };
    let plain = match *each {
        [_, 0x11, _] => components == 1,
        [1, sampling, _, 2, 0x11, _, 3, 0x11, _] => {
            components == 3 && matches!(sampling, 0x11 | 0x21 | 0x22)
        }
        _ => false,
    };
    let sides = [[h0, h1], [w0, w1]].map(|side| usize::from(u16::from_be_bytes(side)));
    plain.then_some((components, sides))
}
