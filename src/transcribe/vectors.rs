//! Inner loops for wide vectors.

use pulp::{Arch, Simd, WithSimd};

/// An inner loop. All it does must be inlined into [`run`](Self::run), marked `#[inline(always)]`.
pub(super) trait Loop {
    /// What it gives.
    type Output;

    /// Runs it.
    fn run(self) -> Self::Output;
}

/// Runs a loop compiled for the widest vectors this processor has (AVX2 where there is), of which the
/// build's own baseline knows nothing. What it computes stays the same to the bit: no operations are
/// fused or reordered.
pub(super) fn with_widest<L: Loop>(work: L) -> L::Output {
    Arch::new().dispatch(Dispatched(work))
}

struct Dispatched<L>(L);

impl<L: Loop> WithSimd for Dispatched<L> {
    type Output = L::Output;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> L::Output {
        self.0.run()
    }
}
