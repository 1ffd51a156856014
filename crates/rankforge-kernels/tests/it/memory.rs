//! Buffers, arenas and devices.

use crate::support::{devices, refusal};
use rankforge_kernels::ops::{Epilogue, Pool, Pooling, Rotary, add, gather, linear, pool};
use rankforge_kernels::{
    Arena, ArenaLayout, Buffer, Device, DeviceError, Indices, Isa, ParameterId, Precision, Ragged,
    View, Workers,
};
use std::sync::Arc;

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| i as f32).collect()
}

fn layout() -> (Arc<ArenaLayout>, [ParameterId; 3]) {
    let mut layout = ArenaLayout::new();
    let ids = [layout.push("a", 2, 3), layout.push("empty", 0, 5), layout.push("b", 1, 4)];
    (Arc::new(layout), ids)
}

#[test]
fn a_buffer_keeps_what_was_uploaded() {
    for device in devices() {
        let buffer = Buffer::upload(device, 2, 3, &numbers(6));
        assert_eq!((buffer.rows(), buffer.columns()), (2, 3));
        assert_eq!(buffer.view().to_vec(), numbers(6));
        assert_eq!(buffer.view().slice_rows(1..2).to_vec(), [3.0, 4.0, 5.0]);
        assert_eq!(buffer.view().slice_rows(2..2).to_vec(), [] as [f32; 0]);
        let mut target = [0.0; 6];
        buffer.view().with_shape(6, 1).read(&mut target);
        assert_eq!(target.to_vec(), numbers(6));
        let mut copy = buffer.clone();
        copy.view_mut().fill(9.0);
        assert_eq!(buffer.view().to_vec(), numbers(6), "a copy has memory of its own");
        let taken = Buffer::from_vec(device, 3, 2, numbers(6));
        assert_eq!(taken.view().to_vec(), numbers(6));
    }
}

#[test]
fn reshaping_to_about_the_largest_shape_does_not_allocate() {
    for device in devices() {
        let mut buffer = Buffer::empty(device);
        buffer.reshape(10, 10);
        let bytes = buffer.capacity_in_bytes();
        assert!(bytes >= 400);
        // The last shapes are larger by less than a half.
        for (rows, columns) in [(3, 5), (0, 7), (20, 5), (1, 100), (11, 10), (10, 14)] {
            buffer.reshape(rows, columns);
            assert_eq!((buffer.view().rows(), buffer.view().columns()), (rows, columns));
            assert_eq!(buffer.view().to_vec().len(), rows * columns);
        }
        assert_eq!(buffer.capacity_in_bytes(), bytes);
    }
}

#[test]
fn working_memory_is_kept_until_it_is_released() {
    for isa in Isa::available() {
        let device = Device::cpu_with(isa, 2).unwrap();
        let (x, weight) = (
            Buffer::upload(&device, 64, 48, &numbers(64 * 48)),
            Buffer::upload(&device, 80, 48, &numbers(80 * 48)),
        );
        let product = || {
            let mut out = Buffer::zeros(&device, 64, 80);
            let epilogue = Epilogue::default();
            linear(x.view(), weight.view(), Precision::Float32, epilogue, out.view_mut());
            out.view().to_vec()
        };
        assert_eq!(device.working_memory_in_bytes(), 0, "{isa}");
        let before = product();
        assert!(device.working_memory_in_bytes() >= 80 * 48 * 4, "{isa}: the packed weight");
        device.release_working_memory();
        assert_eq!(device.working_memory_in_bytes(), 0, "{isa}");
        assert_eq!(product(), before, "{isa}");
    }
}

#[test]
fn writing_rows_changes_only_them() {
    for device in devices() {
        let mut buffer = Buffer::zeros(device, 3, 2);
        buffer.view_mut().slice_rows(1..2).write(&[5.0, 6.0]);
        buffer.view_mut().slice_rows(2..3).fill(7.0);
        assert_eq!(buffer.view().to_vec(), [0.0, 0.0, 5.0, 6.0, 7.0, 7.0]);
    }
}

#[test]
#[should_panic(expected = "write of 2 x 2")]
fn an_upload_of_another_length_is_refused() {
    Buffer::upload(&devices()[0], 2, 2, &numbers(5));
}

#[test]
#[should_panic(expected = "2 x 4 view of 6 elements")]
fn a_shape_of_another_count_is_refused() {
    Buffer::zeros(&devices()[0], 2, 3).view().with_shape(2, 4);
}

/// `(2^63 + 1) x 2` wraps to 2 elements; two halves of the address space are more than a half.
#[test]
fn shapes_whose_number_of_elements_wraps_are_refused() {
    let (rows, half) = ((1 << 63) + 1, 1 << 60);
    for device in devices() {
        let mut buffer = Buffer::zeros(device, 1, 2);
        let mut layout = ArenaLayout::new();
        layout.push("half of the address space", 1, half);
        let messages = [
            refusal(|| buffer.view().with_shape(rows, 2).to_vec()),
            refusal(|| buffer.view_mut().with_shape(rows, 2).fill(1.0)),
            refusal(|| Buffer::zeros(device, rows, 2)),
            refusal(|| Buffer::upload(device, rows, 2, &[1.0, 2.0])),
            refusal(|| Buffer::from_vec(device, rows, 2, vec![1.0, 2.0])),
            refusal(|| buffer.reshape(rows, 2).rows()),
            refusal(|| Rotary::new(device, rows, 2, 10_000.0)),
            refusal(|| ArenaLayout::new().push("wraps", rows, 2)),
        ];
        for message in messages {
            let expected = "a matrix of 9223372036854775809 x 2 is larger than any memory";
            assert_eq!(message, expected, "{device:?}");
        }
        let sum = refusal(|| layout.push("the other half", 1, half));
        assert!(sum.ends_with("1 x 2305843009213693952 is larger than any memory"), "{sum}");
        assert_eq!(layout.entries().len(), 1, "what was refused is not there");
    }
}

#[test]
#[should_panic(expected = "as many tokens as can be counted")]
fn lengths_whose_sum_wraps_are_refused() {
    Ragged::new(&devices()[0], [4, usize::MAX]);
}

#[test]
#[should_panic(expected = "rows 1..4 of a matrix of 3")]
fn rows_out_of_bounds_are_refused() {
    Buffer::zeros(&devices()[0], 3, 2).view().slice_rows(1..4);
}

#[test]
fn memory_of_the_host_is_a_matrix_of_every_device_that_computes_on_it() {
    for device in devices() {
        assert_eq!(device.shares_host_memory(), device.isa().is_some());
        let values = numbers(8);
        // From an address that no vector is aligned to.
        let rows = &values[1..7];
        if !device.shares_host_memory() {
            let message = refusal(|| View::borrowed(device, 3, 2, rows));
            let expected = "cannot borrow the 3 x 2 matrix of the host: upload it";
            assert!(message.ends_with(expected), "{message}");
            continue;
        }
        let view = View::borrowed(device, 3, 2, rows);
        assert!((view.rows(), view.columns()) == (3, 2) && view.device().same(device));
        assert_eq!(view.to_vec(), rows);
        assert_eq!(view.slice_rows(1..3).to_vec(), rows[2..]);
        let mut out = Buffer::zeros(device, 3, 2);
        add(view, out.view_mut());
        assert_eq!(out.view().to_vec(), rows);
        let message = refusal(|| View::borrowed(device, 4, 2, rows));
        assert_eq!(
            message.lines().next(),
            Some("assertion `left == right` failed: 4 x 2 view of 6 elements")
        );
    }
}

#[test]
fn an_arena_lays_its_matrices_one_after_the_other() {
    let (layout, [a, empty, b]) = layout();
    assert_eq!((layout.len(), layout.find("b"), layout.find("c")), (10, Some(b), None));
    assert!(layout.entry(empty).is_empty());
    for device in devices() {
        let mut arena = Arena::zeros(device, layout.clone());
        arena.flat_mut().write(&numbers(10));
        assert_eq!(arena.view(a).to_vec(), numbers(6));
        assert_eq!(arena.view(b).to_vec(), [6.0, 7.0, 8.0, 9.0]);
        assert_eq!(arena.view(empty).rows(), 0);
    }
}

#[test]
fn several_matrices_of_an_arena_are_written_in_any_order() {
    let (layout, [a, empty, b]) = layout();
    for device in devices() {
        let mut arena = Arena::zeros(device, layout.clone());
        let [view_b, _, view_a] = arena.views_mut([b, empty, a]);
        assert_eq!((view_a.rows(), view_a.columns()), (2, 3));
        view_b.fill(2.0);
        view_a.fill(1.0);
        assert_eq!(arena.flat().to_vec(), [[1.0; 6].as_slice(), &[2.0; 4]].concat());
    }
}

#[test]
#[should_panic(expected = "two exclusive views")]
fn one_matrix_is_not_written_twice_at_once() {
    let (layout, [a, _, b]) = layout();
    Arena::zeros(&devices()[0], layout).views_mut([a, b, a]);
}

#[test]
fn an_arena_of_some_parameters_keeps_ids_and_holds_only_their_memory() {
    let (layout, [a, empty, b]) = layout();
    let some = Arc::new(layout.only(|id| id != a));
    assert_eq!((some.len(), layout.len()), (4, 10));
    assert_eq!([a, empty, b].map(|id| some.has(id)), [false, true, true]);
    assert_eq!((some.find("a"), some.entry(a).rows, some.entry(a).offset), (Some(a), 2, None));
    for device in devices() {
        let mut arena = Arena::zeros(device, some.clone());
        assert_eq!([a, empty, b].map(|id| arena.has(id)), [false, true, true]);
        let [of_b, of_empty] = arena.views_mut([b, empty]);
        assert_eq!((of_empty.rows(), of_b.columns()), (0, 4));
        of_b.write(&[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(arena.flat().to_vec(), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(arena.view(b).to_vec(), arena.flat().to_vec());
    }
    // What a layout leaves out stays out; keeping everything gives the same layout.
    let none = some.only(|id| id == a);
    assert!(none.is_empty() && !none.has(a) && !none.has(b));
    assert_eq!(layout.only(|_| true), *layout);
}

#[test]
#[should_panic(expected = "the arena holds no a")]
fn a_parameter_that_the_arena_leaves_out_is_refused_by_name() {
    let (layout, [a, ..]) = layout();
    let _ = Arena::zeros(&devices()[0], Arc::new(layout.only(|id| id != a))).view(a);
}

#[test]
#[should_panic(expected = "the arena holds no b")]
fn a_left_out_parameter_is_not_written_beside_others() {
    let (layout, [a, _, b]) = layout();
    Arena::zeros(&devices()[0], Arc::new(layout.only(|id| id == a))).views_mut([a, b]);
}

#[test]
#[should_panic(expected = "two arena entries are named a")]
fn a_name_is_used_once() {
    let mut layout = ArenaLayout::new();
    layout.push("a", 1, 1);
    layout.push("a", 2, 2);
}

#[test]
fn instruction_sets_are_read_by_name_and_others_refused() {
    for isa in Isa::ALL {
        assert_eq!(isa.to_string().parse::<Isa>().expect("its own name"), isa);
        assert_eq!(isa.to_string().to_uppercase().parse::<Isa>().expect("any case"), isa);
    }
    let error = "sse9".parse::<Isa>().expect_err("no such set").to_string();
    assert_eq!(
        error,
        "unknown instruction set \"sse9\": \
         expected scalar, avx2, avx2vnni, avx512, avx512vnni or avx512bf16"
    );
}

#[test]
fn a_device_has_the_threads_asked_for_and_an_available_instruction_set() {
    for isa in Isa::available() {
        let device = Device::cpu_with(isa, 3).expect("the machine has it");
        assert_eq!((device.isa(), device.workers().count()), (Some(isa), 3));
        assert!(device.same(&device.clone()));
        assert!(!device.same(&devices()[0]));
    }
    assert!(Isa::available().contains(&Isa::best()));
    assert_eq!(Device::cpu_with(Isa::Scalar, 0).expect("at least one").workers().count(), 1);
}

#[test]
fn devices_share_the_workers_they_are_given_and_run_work_on_them() {
    let workers = Workers::new(Some(2)).expect("two threads start");
    for isa in Isa::available() {
        let device = Device::cpu_on(isa, &workers).expect("the machine has it");
        assert_eq!((device.isa(), device.workers().count()), (Some(isa), 2));
        let nested = device.workers().run(|| {
            let outer = std::thread::current().id();
            workers.run(|| std::thread::current().id() == outer)
        });
        assert!(nested, "work of a worker stays on it: both are one set of threads");
    }
    let name = workers.run(|| std::thread::current().name().map(str::to_owned));
    assert!(name.expect("workers are named").starts_with("rankforge-"));
}

#[test]
fn the_reference_device_is_no_cpu() {
    let device = Device::reference().expect("one thread starts");
    assert_eq!((device.isa(), device.workers().count()), (None, 1));
    assert_eq!(device.to_string(), "reference");
    assert!(device.same(&device.clone()));
    assert!(!device.same(&Device::reference().expect("one thread starts")));
}

#[test]
fn cpu_devices_take_each_others_matrices() {
    let [one, two] = [1, 2].map(|threads| Device::cpu_with(Isa::Scalar, threads).expect("scalar"));
    let (x, mut out) = (Buffer::upload(&one, 2, 2, &numbers(4)), Buffer::zeros(&two, 2, 2));
    add(x.view(), out.view_mut());
    assert_eq!(out.view().to_vec(), numbers(4));
}

#[test]
#[should_panic(
    expected = "an operand on Device(reference) of an operation on Device(cpu, scalar, 1 thread)"
)]
fn an_operand_on_another_device_is_refused_with_both_names() {
    let (cpu, reference) = (&devices()[0], Device::reference().expect("one thread starts"));
    let (x, mut out) = (Buffer::zeros(cpu, 2, 2), Buffer::zeros(&reference, 2, 2));
    add(x.view(), out.view_mut());
}

#[test]
#[should_panic(expected = "an operand on Device(cpu, scalar, 1 thread) of an operation on Device")]
fn the_reference_device_refuses_host_memory() {
    let (cpu, reference) = (&devices()[0], Device::reference().expect("one thread starts"));
    let (x, mut out) = (Buffer::zeros(&reference, 2, 2), Buffer::zeros(cpu, 2, 2));
    add(x.view(), out.view_mut());
}

#[test]
#[should_panic(expected = "indices on Device(cpu, scalar, 1 thread) of an operation on Device")]
fn indices_on_another_device_are_refused_with_both_names() {
    let (cpu, reference) = (&devices()[0], Device::reference().expect("one thread starts"));
    let (table, mut out) = (Buffer::zeros(&reference, 2, 2), Buffer::zeros(&reference, 1, 2));
    gather(table.view(), &Indices::new(cpu, &[1]), false, out.view_mut());
}

#[test]
#[should_panic(expected = "sequences on Device(reference) of an operation on Device(cpu, scalar")]
fn sequences_on_another_device_are_refused_with_both_names() {
    let (cpu, reference) = (&devices()[0], Device::reference().expect("one thread starts"));
    let (x, mut out) = (Buffer::zeros(cpu, 3, 2), Buffer::zeros(cpu, 1, 2));
    let ragged = Ragged::new(&reference, [3]);
    let config = Pool { mode: Pooling::Mean, ragged: &ragged, skip: None, column: 0 };
    pool(&config, x.view(), out.view_mut());
}

#[test]
fn an_instruction_set_that_the_machine_lacks_is_an_error_that_names_what_it_has() {
    let available = ["scalar".to_owned(), "avx2".to_owned()].to_vec();
    let error = DeviceError::UnsupportedIsa { isa: Isa::Avx512, available };
    assert_eq!(error.to_string(), "this machine lacks avx512; it has scalar, avx2");
    for isa in Isa::ALL {
        let supported = Isa::available().contains(&isa);
        assert_eq!(Device::cpu_with(isa, 1).is_ok(), supported, "{isa}");
    }
}
