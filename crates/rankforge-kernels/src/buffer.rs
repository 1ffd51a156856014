use crate::device::Device;
use crate::shape::elements;
use crate::storage::Storage;
use crate::view::{View, ViewMut};

/// An owned `rows x columns` matrix of `f32` on a device.
///
/// The memory is kept when the matrix shrinks, so a buffer that is reshaped for every batch stops
/// allocating once it has seen the largest one.
#[derive(Clone)]
pub struct Buffer {
    device: Device,
    rows: usize,
    columns: usize,
    storage: Storage,
}

impl Buffer {
    /// A matrix of zeros.
    ///
    /// # Panics
    /// When the shape has more elements than memory can hold.
    #[track_caller]
    pub fn zeros(device: &Device, rows: usize, columns: usize) -> Buffer {
        let storage = Storage::zeros(device, elements(rows, columns));
        Buffer { device: device.clone(), rows, columns, storage }
    }

    /// An empty matrix, to be shaped later with [`Buffer::reshape`].
    pub fn empty(device: &Device) -> Buffer {
        Buffer::zeros(device, 0, 0)
    }

    /// A matrix with unspecified contents, for a computation that is repeated: its memory is the
    /// working memory of the device, and returns there when the matrix is dropped.
    ///
    /// # Panics
    /// When the shape has more elements than memory can hold.
    #[track_caller]
    pub fn working(device: &Device, rows: usize, columns: usize) -> Buffer {
        let storage = Storage::working(device, elements(rows, columns));
        Buffer { device: device.clone(), rows, columns, storage }
    }

    /// Copies `values`, row-major, to the device.
    ///
    /// # Panics
    /// When `values` does not hold `rows * columns` elements.
    #[track_caller]
    pub fn upload(device: &Device, rows: usize, columns: usize, values: &[f32]) -> Buffer {
        let mut buffer = Buffer::zeros(device, rows, columns);
        buffer.view_mut().write(values);
        buffer
    }

    /// Takes `values`, row-major; on the CPU without a copy.
    ///
    /// # Panics
    /// When `values` does not hold `rows * columns` elements.
    #[track_caller]
    pub fn from_vec(device: &Device, rows: usize, columns: usize, values: Vec<f32>) -> Buffer {
        let length = values.len();
        assert_eq!(length, elements(rows, columns), "{rows} x {columns} of {length} elements");
        let storage = Storage::from_vec(device, values);
        Buffer { device: device.clone(), rows, columns, storage }
    }

    /// Gives the matrix a new shape; the contents are unspecified afterwards.
    ///
    /// # Panics
    /// When the shape has more elements than memory can hold.
    #[track_caller]
    pub fn reshape(&mut self, rows: usize, columns: usize) -> &mut Buffer {
        let length = elements(rows, columns);
        if self.storage.len() < length {
            self.storage.grow(&self.device, length);
        }
        self.rows = rows;
        self.columns = columns;
        self
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The device that the matrix is on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Bytes allocated, spare capacity included. On the host, pages that were never touched take no
    /// memory.
    pub fn capacity_in_bytes(&self) -> usize {
        self.storage.len() * size_of::<f32>()
    }

    /// A shared handle on the matrix.
    pub fn view(&self) -> View<'_> {
        let place = self.storage.place(0..self.rows * self.columns);
        View::new(&self.device, self.rows, self.columns, place)
    }

    /// An exclusive handle on the matrix.
    pub fn view_mut(&mut self) -> ViewMut<'_> {
        let place = self.storage.place_mut(0..self.rows * self.columns);
        ViewMut::new(&self.device, self.rows, self.columns, place)
    }
}
