use crate::cpu::machine::Cpu;
use crate::cpu::matrix::{Matrix, MatrixMut};
use crate::cpu::parallel::for_row_blocks;

pub(crate) fn read_columns(cpu: &Cpu, x: Matrix<'_>, first: usize, out: MatrixMut<'_>) {
    let columns = out.columns;
    for_row_blocks(cpu, x.rows, columns, (x, out), |_, (x, out)| {
        for row in 0..x.rows {
            let part = &x.row(row)[first..first + columns];
            out.data[row * columns..][..columns].copy_from_slice(part);
        }
    });
}

pub(crate) fn write_columns(cpu: &Cpu, x: Matrix<'_>, first: usize, out: MatrixMut<'_>) {
    let (columns, width) = (x.columns, out.columns);
    for_row_blocks(cpu, x.rows, columns, (x, out), |_, (x, out)| {
        for row in 0..x.rows {
            out.data[row * width + first..][..columns].copy_from_slice(x.row(row));
        }
    });
}
