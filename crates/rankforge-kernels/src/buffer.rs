use crate::Device;
use crate::parallel::for_chunks;
use std::fmt;
use std::ops::Range;

/// An owned `rows x columns` matrix of `f32` on a device.
///
/// The memory is kept when the matrix shrinks, so a buffer that is reshaped for every batch stops
/// allocating once it has seen the largest one.
#[derive(Clone)]
pub struct Buffer {
    device: Device,
    rows: usize,
    columns: usize,
    data: Vec<f32>,
}

impl Buffer {
    /// A matrix of zeros.
    pub fn zeros(device: &Device, rows: usize, columns: usize) -> Buffer {
        Buffer { device: device.clone(), rows, columns, data: vec![0.0; rows * columns] }
    }

    /// An empty matrix, to be shaped later with [`Buffer::reshape`].
    pub fn empty(device: &Device) -> Buffer {
        Buffer::zeros(device, 0, 0)
    }

    /// Copies `values`, row-major, to the device.
    ///
    /// # Panics
    /// When `values` does not hold `rows * columns` numbers.
    pub fn upload(device: &Device, rows: usize, columns: usize, values: &[f32]) -> Buffer {
        let mut buffer = Buffer::zeros(device, rows, columns);
        buffer.view_mut().write(values);
        buffer
    }

    /// Takes `values`, row-major, without a copy.
    ///
    /// # Panics
    /// When `values` does not hold `rows * columns` numbers.
    pub fn from_vec(device: &Device, rows: usize, columns: usize, values: Vec<f32>) -> Buffer {
        assert_eq!(values.len(), rows * columns, "{rows} x {columns} of {} numbers", values.len());
        Buffer { device: device.clone(), rows, columns, data: values }
    }

    /// Gives the matrix a new shape; the contents are unspecified afterwards.
    pub fn reshape(&mut self, rows: usize, columns: usize) -> &mut Buffer {
        let length = rows * columns;
        if self.data.len() < length {
            self.data = Vec::new(); // given back before more is asked for
            self.data = reserved(length);
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

    /// The device the matrix lives on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Bytes of memory reserved, spare capacity included; the system maps what is touched.
    pub fn capacity_in_bytes(&self) -> usize {
        self.data.capacity() * size_of::<f32>()
    }

    /// A shared handle on the matrix.
    pub fn view(&self) -> View<'_> {
        let data = &self.data[..self.rows * self.columns];
        View { device: &self.device, rows: self.rows, columns: self.columns, data }
    }

    /// An exclusive handle on the matrix.
    pub fn view_mut(&mut self) -> ViewMut<'_> {
        let data = &mut self.data[..self.rows * self.columns];
        ViewMut { device: &self.device, rows: self.rows, columns: self.columns, data }
    }
}

/// Numbers that one task fills: 1 MiB.
const FILLED_TOGETHER: usize = 1 << 18;

/// At least `length` numbers, half as many again for somewhat larger batches to come. Zeros from the
/// allocator are mapped when they are first touched, by the threads that compute them.
pub(crate) fn reserved(length: usize) -> Vec<f32> {
    vec![0.0; length + length / 2]
}

/// A shared handle on a `rows x columns` matrix; what operations read.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub(crate) device: &'a Device,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) data: &'a [f32],
}

impl<'a> View<'a> {
    pub(crate) fn new(device: &'a Device, rows: usize, columns: usize, data: &'a [f32]) -> Self {
        assert_eq!(data.len(), rows * columns, "{rows} x {columns} view of {} numbers", data.len());
        View { device, rows, columns, data }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The device the matrix lives on.
    pub fn device(&self) -> &'a Device {
        self.device
    }

    /// Asserts the shape, with the name of the operand and both shapes in the message.
    #[track_caller]
    pub(crate) fn expect_shape(&self, operand: &str, rows: usize, columns: usize) {
        let (got_rows, got_columns) = (self.rows, self.columns);
        assert!(
            (got_rows, got_columns) == (rows, columns),
            "{operand} is {got_rows} x {got_columns}, expected {rows} x {columns}"
        );
    }

    /// All numbers as a column, for operations that do not care for the shape.
    pub(crate) fn flat(self) -> View<'a> {
        View::new(self.device, self.data.len(), 1, self.data)
    }

    /// The rows in `range` as a matrix of their own.
    ///
    /// # Panics
    /// When `range` is out of bounds.
    pub fn slice_rows(&self, range: Range<usize>) -> View<'a> {
        assert!(range.end <= self.rows, "rows {range:?} of a matrix of {}", self.rows);
        let data = &self.data[range.start * self.columns..range.end * self.columns];
        View::new(self.device, range.len(), self.columns, data)
    }

    /// The same numbers under another shape.
    ///
    /// # Panics
    /// When the shape holds another count of numbers.
    pub fn with_shape(&self, rows: usize, columns: usize) -> View<'a> {
        View::new(self.device, rows, columns, self.data)
    }

    /// Copies the matrix to the host, row-major.
    pub fn to_vec(&self) -> Vec<f32> {
        self.data.to_vec()
    }

    /// Copies the matrix into `target`, row-major.
    ///
    /// # Panics
    /// When `target` has another length.
    pub fn read(&self, target: &mut [f32]) {
        assert_eq!(target.len(), self.data.len(), "read of {} x {}", self.rows, self.columns);
        target.copy_from_slice(self.data);
    }
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "View({} x {})", self.rows, self.columns)
    }
}

/// An exclusive handle on a `rows x columns` matrix; what operations write.
pub struct ViewMut<'a> {
    pub(crate) device: &'a Device,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) data: &'a mut [f32],
}

impl<'a> ViewMut<'a> {
    pub(crate) fn new(
        device: &'a Device,
        rows: usize,
        columns: usize,
        data: &'a mut [f32],
    ) -> Self {
        assert_eq!(data.len(), rows * columns, "{rows} x {columns} view of {} numbers", data.len());
        ViewMut { device, rows, columns, data }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The device the matrix lives on.
    pub fn device(&self) -> &'a Device {
        self.device
    }

    /// Asserts the shape, with the name of the operand and both shapes in the message.
    #[track_caller]
    pub(crate) fn expect_shape(&self, operand: &str, rows: usize, columns: usize) {
        self.as_view().expect_shape(operand, rows, columns);
    }

    /// All numbers as a column, for operations that do not care for the shape.
    pub(crate) fn flat(self) -> ViewMut<'a> {
        ViewMut::new(self.device, self.data.len(), 1, self.data)
    }

    /// A shared handle on the same matrix.
    pub fn as_view(&self) -> View<'_> {
        View::new(self.device, self.rows, self.columns, self.data)
    }

    /// A shorter-lived exclusive handle on the same matrix.
    pub fn reborrow(&mut self) -> ViewMut<'_> {
        ViewMut::new(self.device, self.rows, self.columns, self.data)
    }

    /// The rows in `range` as a matrix of their own.
    ///
    /// # Panics
    /// When `range` is out of bounds.
    pub fn slice_rows(self, range: Range<usize>) -> ViewMut<'a> {
        assert!(range.end <= self.rows, "rows {range:?} of a matrix of {}", self.rows);
        let data = &mut self.data[range.start * self.columns..range.end * self.columns];
        ViewMut::new(self.device, range.len(), self.columns, data)
    }

    /// The same numbers under another shape.
    ///
    /// # Panics
    /// When the shape holds another count of numbers.
    pub fn with_shape(self, rows: usize, columns: usize) -> ViewMut<'a> {
        ViewMut::new(self.device, rows, columns, self.data)
    }

    /// Copies `values`, row-major, from the host.
    ///
    /// # Panics
    /// When `values` has another length.
    pub fn write(self, values: &[f32]) {
        assert_eq!(values.len(), self.data.len(), "write of {} x {}", self.rows, self.columns);
        self.data.copy_from_slice(values);
    }

    /// Sets every number to `value`.
    pub fn fill(self, value: f32) {
        let parallel = self.data.len() > FILLED_TOGETHER;
        for_chunks(self.device, parallel, self.data, FILLED_TOGETHER, |_, chunk| chunk.fill(value));
    }
}

impl fmt::Debug for ViewMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ViewMut({} x {})", self.rows, self.columns)
    }
}
