//! From the path of an alignment to the times of tokens.

/// Encoder positions a second.
const POSITIONS_PER_SECOND: f64 = 50.0;

/// When each of `tokens` text tokens starts and, last, when the text ends, in seconds: never
/// decreasing, from 0 to `window_seconds`.
///
/// A token starts at the first position that the path gives it, and `tokens` stands for the
/// end of the text.
pub(super) fn token_starts(path: &[(u32, u32)], tokens: usize, window_seconds: f64) -> Vec<f64> {
    let window = if window_seconds.is_finite() {
        window_seconds.max(0.0)
    } else {
        0.0
    };
    if path.is_empty() {
        let spread = |token: usize| window * token as f64 / tokens.max(1) as f64;
        return (0..=tokens).map(spread).collect();
    }
    let mut starts: Vec<Option<f64>> = vec![None; tokens + 1];
    for &(token, position) in path {
        if let Some(start) = starts.get_mut(token as usize) {
            start.get_or_insert(f64::from(position) / POSITIONS_PER_SECOND);
        }
    }
    fill(&starts, window)
}

/// What is missing starts with what comes next; what goes back in time stays where it was.
fn fill(starts: &[Option<f64>], window: f64) -> Vec<f64> {
    let mut next = window;
    let mut filled: Vec<f64> = starts
        .iter()
        .rev()
        .map(|start| {
            next = start.unwrap_or(next);
            next
        })
        .collect();
    filled.reverse();
    let mut latest: f64 = 0.0;
    for start in &mut filled {
        latest = latest.max(start.min(window));
        *start = latest;
    }
    filled
}
