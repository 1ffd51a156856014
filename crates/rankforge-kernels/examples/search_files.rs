//! Searches in rows that files keep: rounds the rows of an array to bytes, or searches in them.
//!
//!     cargo build --release -p rankforge-kernels --example search_files
//!     search_files round ROWS.npy FOLDER
//!     search_files search ROWS.npy FOLDER QUERIES.npy BATCH K THREADS ISA OUTPUT
//!
//! `ISA` is the name of an instruction set, or `best`. The arrays are of `f32`, in C order, as
//! numpy saves them. `search` takes `BATCH` queries at a time, prints the seconds of all of them
//! and of a search, and writes `K` rows of each query as `u32` indices to `OUTPUT`. Bytes are
//! mapped; the rows of candidates are read from the file, as mapped pages would count as memory of
//! the process.
#![expect(clippy::disallowed_methods, reason = "a program that reads files, measures and prints")]
#![expect(clippy::disallowed_types, reason = "a program that reads files")]

use rankforge_kernels::ops::{ByteRows, RowSource, Similarity, Skipped, StoredCorpus};
use rankforge_kernels::{Buffer, Device, Isa, Mapping, View, Workers};
use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["round", rows, folder] => round(&Array::open(rows)?, Path::new(folder)),
        ["search", rows, folder, queries, batch, k, threads, isa, output] => {
            let workers = Workers::new(Some(threads.parse()?))?;
            let isa = if isa == "best" { Isa::best() } else { isa.parse()? };
            let device = Device::cpu_on(isa, &workers)?;
            let rows = Array::open(rows)?;
            let found = search(
                (&rows, Path::new(folder)),
                &Array::open(queries)?,
                &device,
                (batch.parse()?, k.parse()?),
            )?;
            Ok(std::fs::write(output, found)?)
        }
        _ => Err("see the head of search_files.rs for the arguments".into()),
    }
}

/// Rounds the rows block by block.
fn round(rows: &Array, folder: &Path) -> Result<(), Box<dyn Error>> {
    const BLOCK: usize = 8192;
    let device = Device::cpu(None)?;
    let mut bytes = BufWriter::new(File::create(folder.join("bytes"))?);
    let mut terms = BufWriter::new(File::create(folder.join("terms"))?);
    for first in (0..rows.rows).step_by(BLOCK) {
        let count = BLOCK.min(rows.rows - first);
        let mut block = vec![0.0; count * rows.columns];
        rows.read(first, &mut block)?;
        let block = View::borrowed(&device, count, rows.columns, &block);
        let block = ByteRows::round(Similarity::Dot, block);
        bytes.write_all(block.bytes())?;
        block.terms().iter().try_for_each(|term| terms.write_all(&term.to_le_bytes()))?;
    }
    bytes.flush()?;
    terms.flush()?;
    Ok(())
}

/// The indices of the best rows for each query.
fn search(
    (rows, folder): (&Array, &Path),
    queries: &Array,
    device: &Device,
    (batch, k): (usize, usize),
) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut values = vec![0.0; queries.rows * queries.columns];
    queries.read(0, &mut values)?;
    let queries = Buffer::from_vec(device, queries.rows, queries.columns, values);
    let (bytes, terms) = (File::open(folder.join("bytes"))?, File::open(folder.join("terms"))?);
    let (bytes, terms) = (Mapping::new(&bytes)?, Mapping::new(&terms)?);
    let terms = terms.floats().ok_or("terms that are no numbers")?;
    let stored = ByteRows::borrowed(Similarity::Dot, rows.columns, bytes.bytes(), terms);
    let corpus = StoredCorpus::new(device, &stored, rows);
    // The first search maps the pages.
    let search = |first: usize, last: usize| {
        corpus.top_k(queries.view().slice_rows(first..last), k, Skipped::default(), &|_| ())
    };
    search(0, 1)?;
    let (mut found, mut seconds) = (Vec::with_capacity(queries.rows()), Vec::new());
    for first in (0..queries.rows()).step_by(batch) {
        let start = Instant::now();
        found.extend(search(first, (first + batch).min(queries.rows()))?);
        seconds.push(start.elapsed().as_secs_f64());
    }
    let all: f64 = seconds.iter().sum();
    seconds.sort_by(f64::total_cmp);
    let (least, median) = (seconds[0], seconds[seconds.len() / 2]);
    let of_a_search = format!(r#""least": {least}, "median": {median}"#);
    writeln!(io::stdout(), r#"{{"seconds": {all}, {of_a_search}, "rows": {}}}"#, rows.rows)?;
    Ok(found.iter().flatten().flat_map(|row| row.index.to_le_bytes()).collect())
}

/// A matrix in a file.
struct Array {
    file: File,
    /// Bytes before the first element.
    head: u64,
    rows: usize,
    columns: usize,
}

impl Array {
    fn open(path: &str) -> Result<Array, Box<dyn Error>> {
        let mut file = File::open(path)?;
        let mut start = [0; 10];
        file.read_exact(&mut start)?;
        if !start.starts_with(b"\x93NUMPY\x01") {
            return Err(format!("{path} is no array of version 1").into());
        }
        let mut header = vec![0; usize::from(u16::from_le_bytes([start[8], start[9]]))];
        file.read_exact(&mut header)?;
        let header = String::from_utf8(header)?;
        if !header.contains("'<f4'") || !header.contains("'fortran_order': False") {
            return Err(format!("{path} does not hold f32 in C order: {header}").into());
        }
        let shape = header.split(['(', ')']).nth(1).ok_or("an array without a shape")?;
        let shape: Vec<usize> =
            shape.split(',').map(|size| size.trim().parse()).collect::<Result<_, _>>()?;
        let [rows, columns] = shape[..] else {
            return Err(format!("{path} is no matrix: {header}").into());
        };
        Ok(Array { file, head: (10 + header.len()) as u64, rows, columns })
    }
}

impl RowSource for Array {
    fn read(&self, first: usize, rows: &mut [f32]) -> io::Result<()> {
        const ELEMENTS: usize = 1024;
        let mut bytes = [0; 4 * ELEMENTS];
        let mut place = self.head + (4 * first * self.columns) as u64;
        for rows in rows.chunks_mut(ELEMENTS) {
            let bytes = &mut bytes[..4 * rows.len()];
            self.file.read_exact_at(bytes, place)?;
            place += bytes.len() as u64;
            for (value, four) in rows.iter_mut().zip(bytes.as_chunks().0) {
                *value = f32::from_le_bytes(*four);
            }
        }
        Ok(())
    }
}
