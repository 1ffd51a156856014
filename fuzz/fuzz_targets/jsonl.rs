//! Rows from JSON: one object per line, or one list of objects.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rankforge_fuzz::{rows, with_folder, write};

fuzz_target!(|data: &[u8]| {
    with_folder(data.len(), |folder| {
        write(folder, "rows.jsonl", data);
        rows::check(folder, "rows.jsonl");
    });
});
