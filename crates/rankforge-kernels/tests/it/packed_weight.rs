use crate::linear::shapes;
use crate::support::{devices, devices_for, random, refusal};
use rankforge_kernels::ops::{Activation, Dropout, Epilogue, linear};
use rankforge_kernels::{Buffer, Device, Isa, PackedWeight, Precision};

#[test]
fn a_packed_weight_gives_the_bits_of_the_matrix_for_every_shape_and_precision() {
    // The first packs a small left operand, the last packs its rows in parts.
    for shape in shapes().chain([[2, 1030, 17_000], [9000, 1000, 33]]) {
        let [rows, depth, columns] = shape;
        let (x, weight) = (random(1, rows * depth), random(2, columns * depth));
        let (bias, residual) = (random(3, columns), random(4, rows * columns));
        for device in devices_for(rows * depth * columns) {
            let x = Buffer::upload(device, rows, depth, &x);
            let weight = Buffer::upload(device, columns, depth, &weight);
            let bias = Buffer::upload(device, 1, columns, &bias);
            let residual = Buffer::upload(device, rows, columns, &residual);
            for precision in Precision::ALL {
                let packed = PackedWeight::pack(weight.view(), precision);
                assert_eq!((packed.rows(), packed.columns()), (columns, depth));
                let run = |packed: Option<&PackedWeight>| {
                    let mut out = Buffer::upload(device, rows, columns, &vec![7.0; rows * columns]);
                    let epilogue = Epilogue {
                        accumulate: columns % 2 == 1,
                        bias: Some(bias.view()),
                        activation: Some(Activation::Gelu),
                        dropout: Some(Dropout::new(0.25, 1, 2, 3, 4)),
                        residual: Some(residual.view()),
                        ..Epilogue::default()
                    };
                    match packed {
                        Some(packed) => {
                            linear(x.view(), packed, precision, epilogue, out.view_mut());
                        }
                        None => {
                            linear(x.view(), weight.view(), precision, epilogue, out.view_mut());
                        }
                    }
                    out.view().to_vec()
                };
                let what = format!("{shape:?} in {precision} on {device:?}");
                assert!(run(Some(&packed)) == run(None), "{what}");
            }
        }
    }
}

#[test]
fn rows_of_a_packed_weight_give_the_bits_of_those_rows() {
    let (rows, depth, columns) = (5, 70, 96);
    let (x, weight) = (random(1, rows * depth), random(2, columns * depth));
    for device in devices() {
        let x = Buffer::upload(device, rows, depth, &x);
        let weight = Buffer::upload(device, columns, depth, &weight);
        for precision in Precision::ALL {
            let packed = PackedWeight::pack(weight.view(), precision);
            for part in [0..32, 32..90, 64..96, 96..96] {
                let mut out = Buffer::zeros(device, rows, part.len());
                let (sliced, epilogue) = (packed.slice_rows(part.clone()), Epilogue::default());
                linear(x.view(), sliced, precision, epilogue, out.view_mut());
                let mut expected = Buffer::zeros(device, rows, part.len());
                let (sliced, epilogue) =
                    (weight.view().slice_rows(part.clone()), Epilogue::default());
                linear(x.view(), sliced, precision, epilogue, expected.view_mut());
                let same = out.view().to_vec() == expected.view().to_vec();
                assert!(same, "rows {part:?} in {precision} on {device:?}");
            }
        }
    }
}

#[test]
fn a_part_of_a_packed_weight_that_begins_within_a_panel_is_refused() {
    for device in devices().iter().filter(|device| device.isa().is_some()) {
        let packed = PackedWeight::pack(Buffer::zeros(device, 64, 8).view(), Precision::Float32);
        let begins = [0, 5, 32].map(|row| PackedWeight::can_begin_at(device, row));
        assert_eq!(begins, [true, false, true]);
        let message =
            refusal(|| assert!(packed.slice_rows(5..64).precision() == Precision::Float32));
        assert_eq!(message, "rows 5..64 begin within a panel");
    }
}

#[test]
fn a_packed_weight_takes_the_memory_it_says() {
    for device in devices() {
        let weight = Buffer::zeros(device, 320, 768);
        let elements = 320 * 768;
        for precision in Precision::ALL {
            let bytes = PackedWeight::pack(weight.view(), precision).size_in_bytes();
            let paired = precision == Precision::BFloat16 && device.isa() == Some(Isa::Avx512Bf16);
            assert_eq!(bytes, elements * if paired { 2 } else { 4 }, "{precision} on {device:?}");
        }
    }
}

#[test]
#[should_panic(expected = "precision of the packed weight, precision of the product")]
fn a_weight_packed_in_another_precision_is_refused() {
    let device = &devices()[0];
    let (x, weight) = (Buffer::zeros(device, 3, 5), Buffer::zeros(device, 4, 5));
    let packed = PackedWeight::pack(weight.view(), Precision::BFloat16);
    let mut out = Buffer::zeros(device, 3, 4);
    linear(x.view(), &packed, Precision::Float32, Epilogue::default(), out.view_mut());
}

#[test]
fn a_weight_packed_on_another_device_is_refused_except_between_cpus_alike() {
    let product = |packed_on: &Device, device: &Device| {
        let weight = Buffer::upload(packed_on, 4, 5, &random(1, 20));
        let packed = PackedWeight::pack(weight.view(), Precision::Float32);
        let x = Buffer::upload(device, 2, 5, &random(2, 10));
        let mut out = Buffer::zeros(device, 2, 4);
        let epilogue = Epilogue::default();
        linear(x.view(), &packed, Precision::Float32, epilogue, out.view_mut());
    };
    let reference = || Device::reference().expect("one thread starts");
    let cpu = |isa, threads| Device::cpu_with(isa, threads).expect("the machine has it");
    for isa in Isa::available() {
        product(&cpu(isa, 1), &cpu(isa, 2));
    }
    let scalar = cpu(Isa::Scalar, 1);
    let others = Isa::available().into_iter().filter(|&isa| isa != Isa::Scalar);
    let others = others.map(|isa| (cpu(isa, 1), scalar.clone()));
    let mixed =
        [(reference(), reference()), (reference(), scalar.clone()), (scalar.clone(), reference())];
    for (packed_on, device) in others.chain(mixed) {
        let message = refusal(|| product(&packed_on, &device));
        let expected = format!("as the weight of a product on {device:?}");
        assert!(message.ends_with(&expected), "{message}");
    }
}
