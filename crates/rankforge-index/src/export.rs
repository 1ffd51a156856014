//! Copies of an index for other engines.

use crate::error::IndexError;
use crate::index::Index;
use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use rankforge_base::{AtomicFile, FileError, Reporter, Task};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

/// Rows that are in memory at a time.
const CHUNK: usize = 8192;

/// Bytes of the header of a NumPy file, padded with spaces.
const HEADER: usize = 128;

/// Writes the rows that are not deleted as a parquet file with the columns `id`, `text`,
/// `metadata` (a JSON object, as text) and, of an index with vectors, `vector` (a list of fixed
/// size of 32-bit floats). Returns their number.
///
/// # Errors
/// When the file cannot be written, or a row cannot be read.
pub fn export_parquet(
    index: &Index,
    path: &Path,
    reporter: &dyn Reporter,
) -> Result<usize, IndexError> {
    let dimension = index.manifest().vectors.as_ref().map(|entry| entry.dimension);
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let mut fields = vec![text("id"), text("text"), text("metadata")];
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    if let Some(dimension) = dimension {
        let list = DataType::FixedSizeList(item.clone(), dimension as i32);
        fields.push(Field::new("vector", list, false));
    }
    let schema = Arc::new(Schema::new(fields));
    let file = AtomicFile::create(path)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(1 << 16))
        .build();
    let failed = |error: &dyn std::fmt::Display| FileError::content(path, error.to_string());
    let writer = ArrowWriter::try_new(file.handle()?, schema.clone(), Some(properties));
    let mut writer = writer.map_err(|error| failed(&error))?;
    for_each_chunk(index, reporter, |rows| {
        let (mut ids, mut texts, mut metadata) = (Vec::new(), Vec::new(), Vec::new());
        for &row in rows {
            let row = index.row(row)?;
            metadata.push(serde_json::Value::Object(row.metadata).to_string());
            ids.push(row.id);
            texts.push(row.text);
        }
        let column = |texts: Vec<String>| Arc::new(StringArray::from(texts)) as ArrayRef;
        let mut columns = vec![column(ids), column(texts), column(metadata)];
        if let Some(dimension) = dimension {
            let values = Arc::new(Float32Array::from(vectors(index, rows, dimension)?));
            let list = FixedSizeListArray::try_new(item.clone(), dimension as i32, values, None);
            columns.push(Arc::new(list.map_err(|error| failed(&error))?));
        }
        let batch = RecordBatch::try_new(schema.clone(), columns);
        let batch = batch.map_err(|error| failed(&error))?;
        Ok(writer.write(&batch).map_err(|error| failed(&error))?)
    })?;
    writer.close().map_err(|error| failed(&error))?;
    file.commit()?;
    Ok(index.manifest().live_rows())
}

/// Writes the rows that are not deleted into a directory: `vectors.npy`, a float32 matrix, and
/// `rows.jsonl`, whose line `i` has the id, the text and the metadata of row `i` of the matrix.
/// Returns their number.
///
/// # Errors
/// When the index has no vectors, a file cannot be written, or a row cannot be read.
pub fn export_npy(
    index: &Index,
    directory: &Path,
    reporter: &dyn Reporter,
) -> Result<usize, IndexError> {
    let Some(entry) = &index.manifest().vectors else {
        return Err(IndexError::Lacks { path: index.path().to_owned(), what: "vectors" });
    };
    std::fs::create_dir_all(directory).map_err(FileError::io(directory))?;
    let (matrix_path, rows_path) = (directory.join("vectors.npy"), directory.join("rows.jsonl"));
    let (matrix_file, rows_file) =
        (AtomicFile::create(&matrix_path)?, AtomicFile::create(&rows_path)?);
    let mut matrix = BufWriter::new(matrix_file.handle()?);
    let mut lines = BufWriter::new(rows_file.handle()?);
    let (matrix_failed, rows_failed) = (FileError::io(&matrix_path), FileError::io(&rows_path));
    let rows = index.manifest().live_rows();
    matrix.write_all(&npy_header(rows, entry.dimension)).map_err(matrix_failed)?;
    for_each_chunk(index, reporter, |rows| {
        for value in vectors(index, rows, entry.dimension)? {
            matrix.write_all(&value.to_le_bytes()).map_err(matrix_failed)?;
        }
        for &row in rows {
            lines.write_all(&index.row(row)?.line()).map_err(rows_failed)?;
        }
        Ok(())
    })?;
    matrix.flush().map_err(matrix_failed)?;
    lines.flush().map_err(rows_failed)?;
    matrix_file.commit()?;
    rows_file.commit()?;
    Ok(rows)
}

/// Calls `work` with the numbers of the rows that are not deleted, a chunk at a time.
fn for_each_chunk(
    index: &Index,
    reporter: &dyn Reporter,
    mut work: impl FnMut(&[usize]) -> Result<(), IndexError>,
) -> Result<(), IndexError> {
    let task = Task::begin(reporter, "Exporting", index.rows(), "texts");
    for first in (0..index.rows()).step_by(CHUNK) {
        let end = index.rows().min(first + CHUNK);
        let rows: Vec<usize> = (first..end).filter(|row| !index.is_deleted(*row)).collect();
        work(&rows)?;
        task.advance(end - first);
    }
    Ok(())
}

/// The vectors of these rows, row-major.
fn vectors(index: &Index, rows: &[usize], dimension: usize) -> Result<Vec<f32>, IndexError> {
    let mut values = vec![0.0; rows.len() * dimension];
    for (row, values) in rows.iter().zip(values.chunks_exact_mut(dimension)) {
        index.read_vectors(*row, values)?;
    }
    Ok(values)
}

/// The header of a NumPy file of format 1.0 with a float32 matrix.
fn npy_header(rows: usize, columns: usize) -> [u8; HEADER] {
    let mut bytes = [b' '; HEADER];
    bytes[..8].copy_from_slice(b"\x93NUMPY\x01\x00");
    bytes[8..10].copy_from_slice(&((HEADER - 10) as u16).to_le_bytes());
    let shape = format!("({rows}, {columns})");
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    bytes[10..10 + text.len()].copy_from_slice(text.as_bytes());
    bytes[HEADER - 1] = b'\n';
    bytes
}
