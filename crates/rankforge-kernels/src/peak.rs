use crate::cpu;
use crate::device::{Device, Kind};
use crate::settings::arithmetic::Arithmetic;

/// The most operations per second that all threads of the device reach together on independent sums
/// held in registers, with no memory in between; a multiply-add counts as two.
///
/// `None` when the device's instruction set has no instruction for this arithmetic. Takes about a
/// second; the best of many rounds is taken, so other work disturbs it little.
pub fn peak(device: &Device, arithmetic: Arithmetic) -> Option<f64> {
    match device.kind() {
        Kind::Cpu(cpu) => cpu::peak::peak(cpu, arithmetic),
        Kind::Reference(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;

    #[test]
    fn every_instruction_set_has_a_peak_in_f32_and_only_one_in_the_others() {
        for isa in Isa::available() {
            let device = Device::cpu_with(isa, 1).unwrap();
            let rate = peak(&device, Arithmetic::Float32).unwrap();
            assert!(rate > 1e8, "{rate} operations a second on {isa}");
            for arithmetic in [Arithmetic::BFloat16, Arithmetic::Int8] {
                let found = peak(&device, arithmetic).is_some();
                assert_eq!(found, isa == Isa::Avx512Bf16, "{arithmetic:?} on {isa}");
            }
        }
    }
}
