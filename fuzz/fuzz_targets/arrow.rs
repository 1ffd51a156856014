//! Rows from Arrow files and streams.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rankforge_fuzz::{rows, with_folder, write};

fuzz_target!(|data: &[u8]| {
    with_folder(data.len(), |folder| {
        write(folder, "rows.arrow", data);
        rows::check(folder, "rows.arrow");
    });
});
