//! Rows from comma- and tab-separated files; the first byte says which.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rankforge_fuzz::{rows, with_folder, write};

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    let name = if kind % 2 == 0 { "rows.csv" } else { "rows.tsv" };
    with_folder(data.len(), |folder| {
        write(folder, name, data);
        rows::check(folder, name);
    });
});
