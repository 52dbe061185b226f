//! Which texts are keys: one rule for every adapter.

/// Longest key in bytes; S3 ends there.
pub const MAX_LEN: usize = 1024;

/// First segments that the directory adapter keeps for itself, so that no store may hold them.
const RESERVED: [&str; 2] = [".tmp", ".lock"];

/// Why `key` is no key, or `None` where it is one.
pub fn problem_of(key: &str) -> Option<&'static str> {
    let first = key.split('/').next().unwrap_or_default();
    if key.is_empty() {
        Some("the key is empty")
    } else if key.len() > MAX_LEN {
        Some("the key is longer than 1024 bytes")
    } else if key.contains(['\\', '\0']) {
        Some("a key holds no backslash and no NUL")
    } else if key.split('/').any(|name| matches!(name, "" | "." | "..")) {
        Some("a key has no empty segment and none that is '.' or '..'")
    } else if is_reserved(first) {
        Some("the store keeps this name for itself")
    } else {
        None
    }
}

/// Whether `name`, as a first segment, belongs to the store. File systems that fold case exist.
pub fn is_reserved(name: &str) -> bool {
    RESERVED
        .iter()
        .any(|reserved| name.eq_ignore_ascii_case(reserved))
}
