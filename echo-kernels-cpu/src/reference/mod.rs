//! The slow and obvious form of every operation: it defines what the operation means.
//!
//! Plain loops over host slices, accumulation in f64, nothing shared with the fast forms. The
//! header of each file is the operation's specification; device sources repeat its shape lines.
//!
//! An operand `x [rows, width]` is the columns an [`Area`](crate::Area) selects of a row-major
//! matrix; what lies outside is neither read nor written.

pub mod add;
pub mod dequant;
pub mod embed;
pub mod gather_rows;
pub mod linear;
pub mod rms_norm;
pub mod rope_store;
pub mod sample_rows;
pub mod silu_mul;
pub mod topk_logprob;
pub mod tree_attention;

pub use add::add;
pub use dequant::dequantize;
pub use embed::embed;
pub use gather_rows::gather_rows;
pub use linear::linear;
pub use rms_norm::rms_norm;
pub use rope_store::rope_store;
pub use sample_rows::sample_rows;
pub use silu_mul::silu_mul;
pub use topk_logprob::topk_logprob;
pub use tree_attention::tree_attention;
