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
    fn every_instruction_set_has_a_peak_in_f32_and_those_with_dot_products_in_the_others() {
        for isa in Isa::available() {
            let device = Device::cpu_with(isa, 1).unwrap();
            let rate = peak(&device, Arithmetic::Float32).unwrap();
            assert!(rate > 1e8, "{rate} operations a second on {isa}");
            let has = |arithmetic| peak(&device, arithmetic).is_some();
            let of_bytes = [Isa::Avx2Vnni, Isa::Avx512Vnni, Isa::Avx512Bf16].contains(&isa);
            assert_eq!(has(Arithmetic::BFloat16), isa == Isa::Avx512Bf16, "{isa}");
            assert_eq!(has(Arithmetic::Int8), of_bytes, "{isa}");
        }
    }
}
