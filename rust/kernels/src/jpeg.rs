//! Small JPEG files to pixels, without Python.
//!
//! Pillow reads pictures of every kind, but half of the time for a small one is Python's, and takes
//! Python's lock. So the plainest kind of file is decoded here. Whatever is special about a file, or
//! wrong with it, is left to Pillow: nothing is refused, and nothing mended.

use std::panic::catch_unwind;
use std::path::Path;

use ndarray::{Array3, ArrayViewMut3};
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;
use zune_jpeg::{JpegDecoder, SampleRatios};

use crate::resize::{Region, resize};

/// Bytes of a file at most.
const FILE: u64 = 1 << 20;
/// How a file in the JPEG File Interchange Format begins, but for a length in the middle: its colours
/// are known to be YCbCr, or grey.
const START: ([u8; 4], [u8; 5]) = ([0xFF, 0xD8, 0xFF, 0xE0], *b"JFIF\0");
/// How a file ends that was not cut off.
const END: [u8; 2] = [0xFF, 0xD9];

/// Which files are decoded here.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Both sides of a picture so long, and it is left alone.
    pub side: usize,
    /// So many pixels a picture has at most.
    pub pixels: usize,
}

/// Overwrites `out`, (height, width, 3), with the picture of a file, resized, and returns true, if it is a
/// plain JPEG file within the limits: in the JPEG File Interchange Format, sound, in colours or grey, and
/// nothing in it says that the picture has to be turned.
pub fn decode(path: &Path, limits: Limits, mut out: ArrayViewMut3<u8>) -> bool {
    // Of broken files there is no telling.
    let decoded = catch_unwind(|| plain(&read(path)?, limits));
    let Ok(Some(image)) = decoded else { return false };
    if image.dim() == out.dim() {
        out.assign(&image);
        return true;
    }
    let (height, width, _) = image.dim();
    let whole = Region { start: [0.0; 2], size: [height as f64, width as f64] };
    resize(image.view(), whole, out).is_ok()
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let status = std::fs::metadata(path).ok()?; // opening a pipe would wait for ever
    let fits = status.is_file() && status.len() <= FILE;
    let content = fits.then(|| std::fs::read(path))?.ok()?;
    let marked = content.starts_with(&START.0) && content.get(6..11) == Some(&START.1);
    (marked && content.ends_with(&END)).then_some(content)
}

fn plain(content: &[u8], limits: Limits) -> Option<Array3<u8>> {
    let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder =
        JpegDecoder::new_with_options(ZCursor::new(content), options.set_strict_mode(true));
    decoder.decode_headers().ok()?;
    let (width, height) = decoder.dimensions()?;
    let upright = decoder.exif().is_none() && decoder.xmp().is_none();
    let colours = matches!(decoder.input_colorspace()?, ColorSpace::YCbCr | ColorSpace::Luma);
    let ratio = decoder.info()?.sample_ratio;
    let sampled = matches!(ratio, SampleRatios::None | SampleRatios::H | SampleRatios::HV);
    let fits = width.min(height) < limits.side && width * height <= limits.pixels;
    if !(upright && colours && sampled && fits) {
        return None;
    }
    Array3::from_shape_vec((height, width, 3), decoder.decode().ok()?).ok()
}
