//! The sources of the kernels and how they are compiled.

use crate::driver::Entry;

/// A file in CUDA C++, embedded.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// Its name without the extension: the operation's.
    pub stem: &'static str,
    /// What it says.
    pub text: &'static str,
    /// The functions a host may launch.
    pub entries: &'static [&'static str],
}

impl Source {
    /// The same, as the driver names them.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        self.entries.iter().map(|name| Entry { stem: self.stem, name })
    }
}

macro_rules! source {
    ($stem:literal, $entries:expr) => {
        Source {
            stem: $stem,
            text: include_str!(concat!("../cu/", $stem, ".cu")),
            entries: $entries,
        }
    };
}

/// One file per operation of the port. Those that take the compiler longest come first.
pub const SOURCES: &[Source] = &[
    source!(
        "linear",
        &[
            "linear_f32_8",
            "linear_f32_16",
            "linear_f32_32",
            "linear_f16_8",
            "linear_f16_16",
            "linear_f16_32",
            "linear_bf16_8",
            "linear_bf16_16",
            "linear_bf16_32",
            "linear_bf16_64",
            "linear_q4_0_8",
            "linear_q4_0_16",
            "linear_q4_0_32",
            "linear_q4_0_64",
            "linear_q4_1_8",
            "linear_q4_1_16",
            "linear_q4_1_32",
            "linear_q4_1_64",
            "linear_q8_0_8",
            "linear_q8_0_16",
            "linear_q8_0_32",
            "linear_q8_0_64",
            "linear_q4_k_8",
            "linear_q4_k_16",
            "linear_q4_k_32",
            "linear_q4_k_64",
            "linear_q6_k_8",
            "linear_q6_k_16",
            "linear_q6_k_32",
            "linear_q6_k_64",
            "linear_merge",
        ]
    ),
    source!(
        "tree_attention",
        &[
            "tree_attention_64_8",
            "tree_attention_64_32",
            "tree_attention_128_8",
            "tree_attention_128_32",
        ]
    ),
    source!("sample_rows", &["sample_rows"]),
    source!("topk_logprob", &["topk_logprob"]),
    source!(
        "embed",
        &[
            "embed_f32",
            "embed_f16",
            "embed_bf16",
            "embed_q4_0",
            "embed_q4_1",
            "embed_q8_0",
            "embed_q4_k",
            "embed_q6_k",
        ]
    ),
    source!("rms_norm", &["rms_norm", "add_rms_norm"]),
    source!("rope_store", &["rope_store"]),
    source!("silu_mul", &["silu_mul"]),
    source!("add", &["add"]),
    source!("gather_rows", &["gather_rows"]),
];

/// Name and text of the headers that the sources include.
pub const HEADERS: &[(&str, &str)] = &[
    ("attention.h", include_str!("../cu/attention.h")),
    ("attention_sums.h", include_str!("../cu/attention_sums.h")),
    ("echo_cuda.h", include_str!("../cu/echo_cuda.h")),
    ("linear.h", include_str!("../cu/linear.h")),
    ("select.h", include_str!("../cu/select.h")),
    ("weight.h", include_str!("../cu/weight.h")),
];

/// Options of every compilation, beside the architecture. No contraction and no fast mathematics:
/// a row's bits must not depend on what the optimiser makes of a line.
pub const OPTIONS: &[&str] = &[
    "--std=c++17",
    "--fmad=false",
    "--ftz=false",
    "--prec-div=true",
    "--prec-sqrt=true",
    // Compilers before CUDA 13 take a lambda for the host's.
    "--device-as-default-execution-space",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_of_the_port_has_a_source_named_after_it() {
        let mut stems: Vec<&str> = SOURCES.iter().map(|source| source.stem).collect();
        stems.sort_unstable();
        let mut wanted: Vec<&str> = echo_kernels_cpu::conformance::stems().collect();
        wanted.sort_unstable();
        assert_eq!(stems, wanted);
    }

    #[test]
    fn entry_points_are_named_once() {
        let mut names: Vec<&str> =
            SOURCES.iter().flat_map(|source| source.entries).copied().collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
