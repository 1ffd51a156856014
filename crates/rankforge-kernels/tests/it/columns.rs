use crate::support::{devices, random, refusal};
use rankforge_kernels::Buffer;
use rankforge_kernels::ops::{read_columns, write_columns};

/// Rows, columns of the whole, first column and number of columns of the part.
const CASES: [(usize, usize, usize, usize); 7] = [
    (0, 5, 1, 2),
    (1, 1, 0, 1),
    (7, 33, 16, 17),
    (3, 9, 4, 0),
    (5, 12, 0, 12),
    (300, 96, 32, 32),
    (2000, 129, 1, 64),
];

#[test]
fn columns_are_read_and_written_at_their_place() {
    for (rows, width, first, columns) in CASES {
        let (whole, part) = (random(3, rows * width), random(4, rows * columns));
        let is_inside = |column: usize| (first..first + columns).contains(&column);
        let places = (0..rows).flat_map(|row| (0..width).map(move |column| (row, column)));
        let inside = places.clone().filter(|(_, column)| is_inside(*column));
        let read: Vec<f32> = inside.map(|(row, column)| whole[row * width + column]).collect();
        let written: Vec<f32> = places
            .map(|(row, column)| match is_inside(column) {
                true => part[row * columns + column - first],
                false => whole[row * width + column],
            })
            .collect();
        for device in devices() {
            let what = format!("{columns} of {width} columns from {first} on {device:?}");
            let mut all = Buffer::upload(device, rows, width, &whole);
            let mut some = Buffer::upload(device, rows, columns, &part);
            write_columns(some.view(), first, all.view_mut());
            assert_eq!(all.view().to_vec(), written, "{what}");
            let all = Buffer::upload(device, rows, width, &whole);
            read_columns(all.view(), first, some.view_mut());
            assert_eq!(some.view().to_vec(), read, "{what}");
        }
    }
}

#[test]
fn columns_beyond_the_matrix_are_refused() {
    let device = &devices()[0];
    let (whole, mut part) = (Buffer::zeros(device, 2, 5), Buffer::zeros(device, 2, 3));
    let message = refusal(|| read_columns(whole.view(), 3, part.view_mut()));
    assert!(message.contains("2 x 3 as the columns from 3 on of a 2 x 5 matrix"), "{message}");
}
