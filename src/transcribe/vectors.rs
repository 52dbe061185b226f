//! Inner loops for wide vectors.

/// Runs `work` compiled for the widest vectors this processor has (AVX2 where there is), of which the
/// build's own baseline knows nothing. What it computes stays the same to the bit: no operations are
/// fused or reordered.
///
/// Only code that is inlined into `work` profits.
pub(super) fn with_widest<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}
