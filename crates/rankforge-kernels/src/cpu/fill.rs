use crate::cpu::machine::Cpu;
use crate::cpu::matrix::MatrixMut;
use crate::cpu::parallel::{for_chunks, for_row_blocks};

/// Elements that one task writes: 1 MiB.
const FILLED_TOGETHER: usize = 1 << 18;

/// Sets every element to `value`.
pub(crate) fn fill(cpu: &Cpu, value: f32, x: MatrixMut<'_>) {
    let parallel = x.data.len() > FILLED_TOGETHER;
    for_chunks(cpu, parallel, x.data, FILLED_TOGETHER, |_, chunk| chunk.fill(value));
}

/// Copies `values`, as many as `x` has elements.
pub(crate) fn copy(cpu: &Cpu, values: &[f32], x: MatrixMut<'_>) {
    let parallel = x.data.len() > FILLED_TOGETHER;
    for_chunks(cpu, parallel, x.data, FILLED_TOGETHER, |index, chunk| {
        chunk.copy_from_slice(&values[index * FILLED_TOGETHER..][..chunk.len()]);
    });
}

/// Calls `row` with the index and the elements of each row.
pub(crate) fn write_rows(cpu: &Cpu, x: MatrixMut<'_>, row: impl Fn(usize, &mut [f32]) + Sync) {
    let (rows, columns) = (x.rows, x.columns);
    for_row_blocks(cpu, rows, columns, x, |first, block| {
        let targets = block.data.chunks_exact_mut(columns.max(1));
        (first..).zip(targets).for_each(|(index, target)| row(index, target));
    });
}
