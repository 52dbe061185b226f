//! Whatever the bytes, the OPML reader ends and gives the same answer twice.

#![no_main]

use libfuzzer_sys::fuzz_target;
use podrun::feeds::read_opml;

fuzz_target!(|bytes: &[u8]| {
    let first = format!("{:?}", read_opml(bytes));
    assert_eq!(first, format!("{:?}", read_opml(bytes)));
});
