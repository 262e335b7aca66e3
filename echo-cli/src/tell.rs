//! What the program says beside its output.

/// Writes a line to standard error. Where nobody reads it any more, `eprintln!` panics, in a server
/// amid the work for others; this goes on without a word.
macro_rules! tell {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($words)*);
    }};
}
