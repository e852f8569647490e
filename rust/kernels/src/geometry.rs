//! Where windows lie. Worked out and checked once, then used by both directions.

use crate::error::{KernelError, Result};

/// No size may exceed this, so that sums of a few sizes cannot overflow.
const LARGEST: usize = 1 << 30;

/// Floats in a padded image that are always allowed: 256 MB.
const LARGEST_PADDED: usize = 1 << 26;

/// Zeros (convolution) or absent elements (pooling) around the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// Output `ceil(size / stride)`; an odd extra element goes to the bottom and right.
    /// TensorFlow's rule, `SAME_UPPER` in ONNX.
    Same,
    /// None: every window lies inside the input.
    Valid,
    /// Stated for each side.
    Explicit {
        /// Rows above.
        top: usize,
        /// Rows below.
        bottom: usize,
        /// Columns before.
        left: usize,
        /// Columns after.
        right: usize,
    },
}

/// How windows lie along one spatial axis: window `i` covers the input positions from
/// `i * stride - before` on, `window` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axis {
    /// Input size.
    pub size: usize,
    /// Window size.
    pub window: usize,
    /// Distance between windows.
    pub stride: usize,
    /// Padding before the first element.
    pub before: usize,
    /// Padding after the last element.
    pub after: usize,
    /// Number of windows.
    pub output: usize,
}

/// The padding of one axis.
enum AxisPadding {
    Same,
    Sides(usize, usize),
}

impl Axis {
    fn new(
        name: &'static str,
        size: usize,
        window: usize,
        stride: usize,
        padding: AxisPadding,
    ) -> Result<Self> {
        positive(name, size)?;
        positive("window", window)?;
        positive("stride", stride)?;
        let (before, after) = match padding {
            AxisPadding::Same => {
                let output = size.div_ceil(stride);
                let total = ((output - 1) * stride + window).saturating_sub(size);
                (total / 2, total - total / 2)
            }
            AxisPadding::Sides(before, after) => {
                bounded("padding", before)?;
                bounded("padding", after)?;
                (before, after)
            }
        };
        let padded = size + before + after;
        if window > padded {
            return Err(KernelError::WindowTooLarge {
                axis: name,
                window,
                size,
                padding: before + after,
            });
        }
        let output = (padded - window) / stride + 1;
        Ok(Self { size, window, stride, before, after, output })
    }

    /// The offsets within window `index` that fall on the input, not on padding.
    pub fn inside(&self, index: usize) -> std::ops::Range<usize> {
        let start = index * self.stride;
        let first = self.before.saturating_sub(start);
        let end = (self.size + self.before - start.min(self.size + self.before)).min(self.window);
        first.min(end)..end
    }
}

fn positive(argument: &'static str, value: usize) -> Result<()> {
    if value == 0 {
        return Err(KernelError::Zero { argument });
    }
    bounded(argument, value)
}

fn bounded(argument: &'static str, value: usize) -> Result<()> {
    if value > LARGEST {
        return Err(KernelError::TooLarge { argument, got: value });
    }
    Ok(())
}

fn axes(
    input: (usize, usize),
    window: (usize, usize),
    stride: (usize, usize),
    padding: Padding,
) -> Result<(Axis, Axis)> {
    let (vertical, horizontal) = match padding {
        Padding::Same => (AxisPadding::Same, AxisPadding::Same),
        Padding::Valid => (AxisPadding::Sides(0, 0), AxisPadding::Sides(0, 0)),
        Padding::Explicit { top, bottom, left, right } => {
            (AxisPadding::Sides(top, bottom), AxisPadding::Sides(left, right))
        }
    };
    Ok((
        Axis::new("height", input.0, window.0, stride.0, vertical)?,
        Axis::new("width", input.1, window.1, stride.1, horizontal)?,
    ))
}

/// Counts of elements must fit, also those of the padded scratch images.
fn countable(argument: &'static str, factors: &[usize]) -> Result<()> {
    let count = factors.iter().try_fold(1usize, |product, &factor| product.checked_mul(factor));
    match count {
        Some(count) if count <= isize::MAX as usize / 16 => Ok(()),
        _ => {
            Err(KernelError::TooLarge { argument, got: factors.iter().copied().max().unwrap_or(0) })
        }
    }
}

/// A two-dimensional convolution of one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvGeometry {
    /// Rows.
    pub height: Axis,
    /// Columns.
    pub width: Axis,
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
}

impl ConvGeometry {
    /// `input` is (height, width, channels); `kernel` and `stride` are (vertical, horizontal).
    ///
    /// # Errors
    /// A size of zero, a window larger than the padded input, or sizes beyond memory.
    pub fn new(
        input: (usize, usize, usize),
        kernel: (usize, usize),
        out_channels: usize,
        stride: (usize, usize),
        padding: Padding,
    ) -> Result<Self> {
        positive("in_channels", input.2)?;
        positive("out_channels", out_channels)?;
        let (height, width) = axes((input.0, input.1), kernel, stride, padding)?;
        let reach =
            |axis: &Axis| (axis.size + axis.before + axis.after).max(axis.size + 2 * axis.window);
        let channels = input.2.max(out_channels);
        countable("input", &[reach(&height), reach(&width), channels])?;
        // Each thread holds one padded image, which a small array with much padding, a large
        // kernel or long strides could blow up beyond all memory.
        let padded = reach(&height) * reach(&width) * channels;
        let arrays = height.size * width.size * input.2
            + height.output * width.output * out_channels
            + kernel.0 * kernel.1 * input.2 * out_channels;
        if padded > LARGEST_PADDED.max(16 * arrays) {
            return Err(KernelError::TooLarge { argument: "padding or kernel", got: padded });
        }
        countable("kernel", &[kernel.0, kernel.1, input.2, out_channels])?;
        Ok(Self { height, width, in_channels: input.2, out_channels })
    }

    /// Shape of one input image.
    pub fn input_shape(&self) -> [usize; 3] {
        [self.height.size, self.width.size, self.in_channels]
    }

    /// Shape of one output image.
    pub fn output_shape(&self) -> [usize; 3] {
        [self.height.output, self.width.output, self.out_channels]
    }

    /// Shape of the weights.
    pub fn weight_shape(&self) -> [usize; 4] {
        [self.height.window, self.width.window, self.in_channels, self.out_channels]
    }
}

/// A pooling of one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolGeometry {
    /// Rows.
    pub height: Axis,
    /// Columns.
    pub width: Axis,
    /// Channels of input and output.
    pub channels: usize,
}

impl PoolGeometry {
    /// `input` is (height, width, channels); `window` and `stride` are (vertical, horizontal).
    ///
    /// # Errors
    /// As for [`ConvGeometry::new`], and a padding as large as the window.
    pub fn new(
        input: (usize, usize, usize),
        window: (usize, usize),
        stride: (usize, usize),
        padding: Padding,
    ) -> Result<Self> {
        positive("channels", input.2)?;
        let (height, width) = axes((input.0, input.1), window, stride, padding)?;
        for axis in [&height, &width] {
            let padding = axis.before.max(axis.after);
            if padding >= axis.window {
                return Err(KernelError::PoolPadding { window: axis.window, padding });
            }
        }
        countable("window", &[window.0, window.1])?;
        countable("input", &[height.size, width.size, input.2])?;
        Ok(Self { height, width, channels: input.2 })
    }

    /// Shape of one input image.
    pub fn input_shape(&self) -> [usize; 3] {
        [self.height.size, self.width.size, self.channels]
    }

    /// Shape of one output image.
    pub fn output_shape(&self) -> [usize; 3] {
        [self.height.output, self.width.output, self.channels]
    }

    /// Elements in a window.
    pub fn window_area(&self) -> usize {
        self.height.window * self.width.window
    }
}

/// A convolution of stride 1 followed by a max pool of 2x2, stride 2, which drops an odd last row
/// or column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockGeometry {
    /// The convolution.
    pub conv: ConvGeometry,
    /// The pool of its output.
    pub pool: PoolGeometry,
}

impl BlockGeometry {
    /// `input` is (height, width, channels), `kernel` (vertical, horizontal).
    ///
    /// # Errors
    /// As for [`ConvGeometry::new`] and [`PoolGeometry::new`].
    pub fn new(
        input: (usize, usize, usize),
        kernel: (usize, usize),
        out_channels: usize,
        padding: Padding,
    ) -> Result<Self> {
        let conv = ConvGeometry::new(input, kernel, out_channels, (1, 1), padding)?;
        let pool = PoolGeometry::new(conv.output_shape().into(), (2, 2), (2, 2), Padding::Valid)?;
        // The weight gradient keeps pixels of a few padded images in 32 bits.
        let padded = |axis: &Axis| axis.size + axis.before + axis.after;
        let pixels = padded(&conv.height) * padded(&conv.width);
        if pixels > u32::MAX as usize / 2 {
            return Err(KernelError::TooLarge { argument: "input", got: pixels });
        }
        Ok(Self { conv, pool })
    }
}
