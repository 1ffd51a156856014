use crate::cpu;
use crate::device::{Device, Kind};
use crate::settings::arithmetic::Arithmetic;

/// The peak rate of all threads of the device together, in operations per second: multiply-adds of
/// independent sums that stay in registers. A multiply-add counts as two operations.
///
/// `None` when the device has no instruction for this arithmetic. Takes about a second and returns
/// the best of many rounds, so that other work on the machine disturbs it little.
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
