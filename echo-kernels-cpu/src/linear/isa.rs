//! Which instructions a kernel may use.

use std::fmt;

/// An instruction set the linear kernels are written for.
///
/// On 8-bit activations all of them give the same bits: integer sums are exact and the few float
/// operations run in the same order. On float activations `Avx2` and `Avx512Vnni` agree too, and
/// `NeonDot` has their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// Plain Rust for any processor.
    Portable,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ, VL and VNNI.
    Avx512Vnni,
    /// 64-bit ARM with NEON and its dot product: `ARMv8.2` servers and phones, Apple's
    /// processors.
    NeonDot,
}

impl Isa {
    /// The fastest instruction set of this processor.
    pub fn detect() -> Self {
        *Isa::available().last().unwrap_or(&Isa::Portable)
    }

    /// The instruction sets of this processor, slowest first.
    #[cfg(target_arch = "x86_64")]
    pub fn available() -> &'static [Isa] {
        const ALL: [Isa; 3] = [Isa::Portable, Isa::Avx2, Isa::Avx512Vnni];
        let n = if !Isa::has_avx2() {
            1
        } else if !Isa::has_avx512_vnni() {
            2
        } else {
            3
        };
        &ALL[..n]
    }

    /// The instruction sets of this processor, slowest first.
    #[cfg(target_arch = "aarch64")]
    pub fn available() -> &'static [Isa] {
        const ALL: [Isa; 2] = [Isa::Portable, Isa::NeonDot];
        let has_dot = std::arch::is_aarch64_feature_detected!("dotprod");
        &ALL[..1 + usize::from(has_dot)]
    }

    /// The instruction sets of this processor, slowest first.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub fn available() -> &'static [Isa] {
        &[Isa::Portable]
    }

    #[cfg(target_arch = "x86_64")]
    fn has_avx2() -> bool {
        is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
    }

    #[cfg(target_arch = "x86_64")]
    fn has_avx512_vnni() -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni")
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::Avx512Vnni => "avx512-vnni",
            Isa::NeonDot => "neon-dot",
        })
    }
}
