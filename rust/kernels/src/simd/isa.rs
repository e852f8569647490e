//! Which instruction set runs: the best that the machine has, or the one that
//! `FERROCNN_ISA=portable|avx2|avx512` names.

use std::sync::OnceLock;

use super::Simd;
use super::portable::Portable;
#[cfg(target_arch = "x86_64")]
use super::{avx2::Avx2, avx512::Avx512};

/// An instruction set that this machine has.
#[derive(Debug, Clone, Copy)]
pub enum Isa {
    /// 16 lanes.
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    /// 8 lanes, with fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    /// 4 lanes, of what every machine of the target has.
    Portable(Portable),
}

impl Isa {
    /// The name that `FERROCNN_ISA` takes.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(_) => "avx2",
            Isa::Portable(_) => "portable",
        }
    }

    /// Floats in a vector.
    pub fn lanes(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(_) => Avx512::LANES,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(_) => Avx2::LANES,
            Isa::Portable(_) => Portable::LANES,
        }
    }

    /// All that this machine has, fastest first.
    pub fn available() -> Vec<Isa> {
        let mut sets = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            sets.extend(Avx512::detect().map(Isa::Avx512));
            sets.extend(Avx2::detect().map(Isa::Avx2));
        }
        sets.push(Isa::Portable(Portable));
        sets
    }

    /// The one that `wanted` names, or the fastest where it names none.
    ///
    /// # Errors
    /// A line for the user where the name is unknown or the machine lacks the set.
    pub fn select(wanted: Option<&str>) -> Result<Isa, String> {
        let sets = Isa::available();
        let Some(wanted) = wanted.filter(|name| !name.is_empty()) else {
            return Ok(sets[0]);
        };
        sets.iter().copied().find(|set| set.name() == wanted).ok_or_else(|| {
            let names: Vec<_> = sets.iter().map(|set| set.name()).collect();
            format!(
                "FERROCNN_ISA: expected one of {} on this machine, got {wanted:?}",
                names.join(", ")
            )
        })
    }
}

/// The instruction set in force. The environment is read once, at the first call; a value that
/// cannot be honoured falls back to the fastest set ([`Isa::select`] reports it).
pub fn isa() -> Isa {
    static ISA: OnceLock<Isa> = OnceLock::new();
    *ISA.get_or_init(|| {
        let wanted = std::env::var("FERROCNN_ISA").ok();
        Isa::select(wanted.as_deref()).unwrap_or_else(|_| Isa::available()[0])
    })
}
