use crate::cpu::machine::Cpu;
use crate::cpu::matrix::MatrixMut;
use crate::cpu::parallel::for_chunks;

/// Elements that one task fills: 1 MiB.
const FILLED_TOGETHER: usize = 1 << 18;

/// Sets every element to `value`.
pub(crate) fn fill(cpu: &Cpu, value: f32, x: MatrixMut<'_>) {
    let parallel = x.data.len() > FILLED_TOGETHER;
    for_chunks(cpu, parallel, x.data, FILLED_TOGETHER, |_, chunk| chunk.fill(value));
}
