use crate::cpu::fill;
use crate::cpu::matrix as cpu;
use crate::device::{Device, Kind};
use crate::reference::matrix as reference;
use crate::shape::elements;
use crate::storage::{Place, PlaceMut};
use std::fmt;
use std::ops::Range;

/// A shared handle on a `rows x columns` matrix, which operations read.
#[derive(Clone, Copy)]
pub struct View<'a> {
    device: &'a Device,
    rows: usize,
    columns: usize,
    place: Place<'a>,
}

impl<'a> View<'a> {
    #[track_caller]
    pub(crate) fn new(device: &'a Device, rows: usize, columns: usize, place: Place<'a>) -> Self {
        let length = place.len();
        assert_eq!(length, elements(rows, columns), "{rows} x {columns} view of {length} elements");
        View { device, rows, columns, place }
    }

    /// `values` of the host, row-major, as a matrix on `device`, without a copy: a slice, or a file
    /// that is mapped into memory.
    ///
    /// On a device with memory of its own, copy them with
    /// [`Buffer::upload`](crate::Buffer::upload); [`Device::shares_host_memory`] says which it is.
    ///
    /// # Panics
    /// When `values` does not hold `rows * columns` elements, or the device does not compute on
    /// memory of the host.
    ///
    /// # Examples
    /// ```
    /// use rankforge_kernels::{Buffer, Device, View, ops};
    ///
    /// let device = Device::cpu(Some(1))?;
    /// let values = [1.0, 2.0, 3.0, 4.0];
    /// let mut out = Buffer::zeros(&device, 2, 2);
    /// ops::add(View::borrowed(&device, 2, 2, &values), out.view_mut());
    /// assert_eq!(out.view().to_vec(), values);
    /// # Ok::<(), rankforge_kernels::DeviceError>(())
    /// ```
    #[track_caller]
    pub fn borrowed(
        device: &'a Device,
        rows: usize,
        columns: usize,
        values: &'a [f32],
    ) -> View<'a> {
        assert!(
            device.shares_host_memory(),
            "{device:?} cannot borrow the {rows} x {columns} matrix of the host: upload it"
        );
        View::new(device, rows, columns, Place::Host(values))
    }

    /// The matrix as CPU kernels take it, for an operation on `device`.
    #[track_caller]
    pub(crate) fn host(self, device: &Device) -> cpu::Matrix<'a> {
        match self.place {
            Place::Host(data) => cpu::Matrix::new(self.rows, self.columns, data),
            Place::Reference(_) => elsewhere(self.device, device),
        }
    }

    /// The matrix as the reference device takes it, for an operation on `device`.
    #[track_caller]
    pub(crate) fn reference(self, device: &Device) -> reference::Matrix<'a> {
        match self.place {
            Place::Reference(slice) if self.device.same(device) => {
                reference::Matrix::new(self.rows, self.columns, slice)
            }
            _ => elsewhere(self.device, device),
        }
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

    /// The rows in `range` as a matrix of their own.
    ///
    /// # Panics
    /// When `range` is out of bounds.
    #[track_caller]
    pub fn slice_rows(&self, range: Range<usize>) -> View<'a> {
        assert!(
            range.start <= range.end && range.end <= self.rows,
            "rows {range:?} of a matrix of {}",
            self.rows
        );
        let place = self.place.part(range.start * self.columns..range.end * self.columns);
        View::new(self.device, range.len(), self.columns, place)
    }

    /// The same elements under another shape.
    ///
    /// # Panics
    /// When the shape has another number of elements.
    #[track_caller]
    pub fn with_shape(&self, rows: usize, columns: usize) -> View<'a> {
        View::new(self.device, rows, columns, self.place)
    }

    /// Copies the matrix to the host, row-major. Waits for the device.
    pub fn to_vec(&self) -> Vec<f32> {
        match self.place {
            Place::Host(data) => data.to_vec(),
            place => {
                let mut values = vec![0.0; place.len()];
                place.read(&mut values);
                values
            }
        }
    }

    /// Copies the matrix into `target`, row-major. Waits for the device.
    ///
    /// # Panics
    /// When `target` has another length.
    pub fn read(&self, target: &mut [f32]) {
        assert_eq!(target.len(), self.place.len(), "read of {} x {}", self.rows, self.columns);
        self.place.read(target);
    }
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "View({} x {})", self.rows, self.columns)
    }
}

/// An exclusive handle on a `rows x columns` matrix, which operations write.
pub struct ViewMut<'a> {
    device: &'a Device,
    rows: usize,
    columns: usize,
    place: PlaceMut<'a>,
}

impl<'a> ViewMut<'a> {
    #[track_caller]
    pub(crate) fn new(
        device: &'a Device,
        rows: usize,
        columns: usize,
        place: PlaceMut<'a>,
    ) -> Self {
        let length = place.len();
        assert_eq!(length, elements(rows, columns), "{rows} x {columns} view of {length} elements");
        ViewMut { device, rows, columns, place }
    }

    /// The matrix as CPU kernels take it, for an operation on `device`.
    #[track_caller]
    pub(crate) fn host(self, device: &Device) -> cpu::MatrixMut<'a> {
        match self.place {
            PlaceMut::Host(data) => cpu::MatrixMut::new(self.rows, self.columns, data),
            PlaceMut::Reference(_) => elsewhere(self.device, device),
        }
    }

    /// The matrix as the reference device takes it, for an operation on `device`.
    #[track_caller]
    pub(crate) fn reference(self, device: &Device) -> reference::MatrixMut<'a> {
        match self.place {
            PlaceMut::Reference(slice) if self.device.same(device) => {
                reference::MatrixMut::new(self.rows, self.columns, slice)
            }
            _ => elsewhere(self.device, device),
        }
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
    pub fn device(&self) -> &'a Device {
        self.device
    }

    /// Asserts the shape, with the name of the operand and both shapes in the message.
    #[track_caller]
    pub(crate) fn expect_shape(&self, operand: &str, rows: usize, columns: usize) {
        self.as_view().expect_shape(operand, rows, columns);
    }

    /// A shared handle on the same matrix.
    pub fn as_view(&self) -> View<'_> {
        View::new(self.device, self.rows, self.columns, self.place.as_place())
    }

    /// A shorter-lived exclusive handle on the same matrix.
    pub fn reborrow(&mut self) -> ViewMut<'_> {
        ViewMut::new(self.device, self.rows, self.columns, self.place.reborrow())
    }

    /// The rows in `range` as a matrix of their own.
    ///
    /// # Panics
    /// When `range` is out of bounds.
    #[track_caller]
    pub fn slice_rows(self, range: Range<usize>) -> ViewMut<'a> {
        assert!(
            range.start <= range.end && range.end <= self.rows,
            "rows {range:?} of a matrix of {}",
            self.rows
        );
        let place = self.place.part(range.start * self.columns..range.end * self.columns);
        ViewMut::new(self.device, range.len(), self.columns, place)
    }

    /// The same elements under another shape.
    ///
    /// # Panics
    /// When the shape has another number of elements.
    #[track_caller]
    pub fn with_shape(self, rows: usize, columns: usize) -> ViewMut<'a> {
        ViewMut::new(self.device, rows, columns, self.place)
    }

    /// Copies `values`, row-major, from the host.
    ///
    /// # Panics
    /// When `values` has another length.
    pub fn write(self, values: &[f32]) {
        assert_eq!(values.len(), self.place.len(), "write of {} x {}", self.rows, self.columns);
        let device = self.device;
        match device.kind() {
            Kind::Cpu(cpu) => fill::copy(cpu, values, self.host(device)),
            Kind::Reference(_) => self.place.write(values),
        }
    }

    /// Writes row `index` as `row(index, target)` computes it, which runs on all threads of the
    /// host. `target` has unspecified contents before.
    pub fn write_rows(self, row: impl Fn(usize, &mut [f32]) + Sync) {
        let (device, rows, columns) = (self.device, self.rows, self.columns);
        match device.kind() {
            Kind::Cpu(cpu) => fill::write_rows(cpu, self.host(device), row),
            Kind::Reference(_) => {
                let mut values = vec![0.0; rows * columns];
                let targets = values.chunks_exact_mut(columns.max(1)).enumerate();
                targets.for_each(|(index, target)| row(index, target));
                self.write(&values);
            }
        }
    }

    /// Sets every element to `value`.
    pub fn fill(self, value: f32) {
        let device = self.device;
        match device.kind() {
            Kind::Cpu(cpu) => fill::fill(cpu, value, self.host(device)),
            Kind::Reference(_) => self.reference(device).fill(value),
        }
    }
}

impl fmt::Debug for ViewMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ViewMut({} x {})", self.rows, self.columns)
    }
}

/// An operand on `operand` of an operation on `device`: operations never copy between devices.
#[cold]
#[track_caller]
fn elsewhere(operand: &Device, device: &Device) -> ! {
    panic!("an operand on {operand:?} of an operation on {device:?}")
}
