//! A test for each operation that the conformance suite knows.

/// Calls `check` with the name of each operation, in a test of that name.
macro_rules! each_stem {
    ($check:ident: $($stem:ident),*) => {
        $(#[test]
        fn $stem() {
            $check(stringify!($stem));
        })*

        #[test]
        fn no_operation_is_left_out() {
            let tested = [$(stringify!($stem)),*];
            assert!(conformance::stems().all(|stem| tested.contains(&stem)));
        }
    };
    ($check:ident) => {
        each_stem! {
            $check: add, embed, gather_rows, linear, rms_norm, rope_store, sample_rows, silu_mul,
            topk_logprob, tree_attention
        }
    };
}
