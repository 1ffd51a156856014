//! What a panic prints.

use std::panic;
use std::path::Path;

/// Prints nothing for a panic in the crates that read parquet files.
///
/// They check some lengths only by assertions, which damaged files violate. `rankforge-data`
/// catches these panics and returns them as errors that name the file. Other panics print what they
/// print without this.
pub(crate) fn silence_readers() {
    let default = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !info.location().is_some_and(|location| is_in_a_reader(location.file())) {
            default(info);
        }
    }));
}

/// Whether a source file is one of the crates `parquet` and `arrow-*`: their folder, with or
/// without a version, is the one that holds `src`.
fn is_in_a_reader(file: &str) -> bool {
    let sources = Path::new(file).ancestors().filter(|folder| folder.ends_with("src"));
    let mut packages = sources.filter_map(|source| source.parent()?.file_name()?.to_str());
    packages
        .any(|name| name == "parquet" || name.starts_with("parquet-") || name.starts_with("arrow-"))
}

#[cfg(test)]
mod tests {
    use super::is_in_a_reader;

    #[test]
    fn only_the_crates_that_read_parquet_files_are_silent() {
        let registry = "/home/me/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f";
        for (file, expected) in [
            ("arrow-buffer-60.1.0/src/util/bit_chunk_iterator.rs", true),
            ("parquet-60.1.0/src/file/reader.rs", true),
            ("csv-core-0.1.13/src/reader.rs", false),
            ("rankforge-data-0.1.0/src/parquet_file.rs", false),
        ] {
            assert_eq!(is_in_a_reader(&format!("{registry}/{file}")), expected, "{file}");
        }
        assert!(is_in_a_reader("vendor/parquet/src/src/reader.rs"));
        for file in ["crates/rankforge-data/src/parquet_file.rs", "/arrow-x/crates/a/src/b.rs", ""]
        {
            assert!(!is_in_a_reader(file), "{file}");
        }
    }
}
