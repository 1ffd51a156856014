use crate::device::Device;
use crate::shape::elements;
use crate::storage::{PlaceMut, Storage};
use crate::view::{View, ViewMut};
use std::ops::Range;
use std::sync::Arc;

/// Which matrix of an [`Arena`]; the same in the arenas of parameters, gradients and moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParameterId(pub usize);

/// Name, shape and place of one matrix in an arena.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArenaEntry {
    /// Its name, for errors and checkpoints.
    pub name: String,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns; vectors are one row.
    pub columns: usize,
    /// Index of its first element in the arena; `None` where the arena holds no memory for it.
    pub offset: Option<usize>,
}

impl ArenaEntry {
    /// Number of elements, whether the arena holds memory for them or not.
    pub fn len(&self) -> usize {
        elements(self.rows, self.columns)
    }

    /// Whether the matrix has no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The names and shapes of all matrices of an arena, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArenaLayout {
    entries: Vec<ArenaEntry>,
    len: usize,
}

impl ArenaLayout {
    /// A layout with no matrix.
    pub fn new() -> ArenaLayout {
        ArenaLayout::default()
    }

    /// Adds a matrix at the end.
    ///
    /// # Panics
    /// When the name is taken, or the arena would have more elements than memory can hold.
    #[track_caller]
    pub fn push(&mut self, name: impl Into<String>, rows: usize, columns: usize) -> ParameterId {
        let name = name.into();
        assert!(self.find(&name).is_none(), "two arena entries are named {name}");
        let len = elements(1, self.len + elements(rows, columns));
        self.entries.push(ArenaEntry { name, rows, columns, offset: Some(self.len) });
        self.len = len;
        ParameterId(self.entries.len() - 1)
    }

    /// This layout with memory for the entries alone that `keep` selects: gradients and moments of
    /// the trainable parameters, say. Ids, names and shapes stay, so the id of a parameter finds
    /// its gradient. An entry that this layout holds no memory for gets none.
    pub fn only(&self, keep: impl Fn(ParameterId) -> bool) -> ArenaLayout {
        let mut layout = ArenaLayout { entries: self.entries.clone(), len: 0 };
        for (index, entry) in layout.entries.iter_mut().enumerate() {
            entry.offset = entry.offset.filter(|_| keep(ParameterId(index))).map(|_| layout.len);
            if entry.offset.is_some() {
                layout.len += entry.len();
            }
        }
        layout
    }

    /// All entries, in order of their offsets; `ParameterId(i)` is the `i`-th.
    pub fn entries(&self) -> &[ArenaEntry] {
        &self.entries
    }

    /// Whether an arena of this layout holds memory for `id`.
    pub fn has(&self, id: ParameterId) -> bool {
        self.entry(id).offset.is_some()
    }

    /// The entry of `id`.
    pub fn entry(&self, id: ParameterId) -> &ArenaEntry {
        &self.entries[id.0]
    }

    /// The id of the entry called `name`.
    pub fn find(&self, name: &str) -> Option<ParameterId> {
        self.entries.iter().position(|entry| entry.name == name).map(ParameterId)
    }

    /// Number of elements that an arena of this layout holds.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether an arena of this layout holds no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entry of `id` and its place among the elements of the arena.
    #[track_caller]
    fn place(&self, id: ParameterId) -> (&ArenaEntry, Range<usize>) {
        let entry = self.entry(id);
        let Some(offset) = entry.offset else { panic!("the arena holds no {}", entry.name) };
        (entry, offset..offset + entry.len())
    }
}

/// Elements that are copied at a time, through the host.
const COPIED_TOGETHER: usize = 1 << 16;

/// One flat allocation with named, shaped views: all parameters, all gradients, or one AdamW
/// moment.
#[derive(Clone)]
pub struct Arena {
    device: Device,
    layout: Arc<ArenaLayout>,
    storage: Storage,
}

impl Arena {
    /// An arena of zeros.
    pub fn zeros(device: &Device, layout: Arc<ArenaLayout>) -> Arena {
        let storage = Storage::zeros(device, layout.len());
        Arena { device: device.clone(), layout, storage }
    }

    /// A copy that holds the matrices of `layout` alone, which is one by [`ArenaLayout::only`] of
    /// this arena's.
    ///
    /// # Panics
    /// When it has a matrix that this arena lacks.
    pub fn only(&self, layout: Arc<ArenaLayout>) -> Arena {
        let mut arena = Arena::zeros(&self.device, layout.clone());
        for id in (0..layout.entries().len()).map(ParameterId).filter(|&id| layout.has(id)) {
            let source = self.view(id);
            let together = (COPIED_TOGETHER / source.columns().max(1)).max(1);
            for start in (0..source.rows()).step_by(together) {
                let rows = start..(start + together).min(source.rows());
                let target = arena.view_mut(id).slice_rows(rows.clone());
                target.write(&source.slice_rows(rows).to_vec());
            }
        }
        arena
    }

    /// Names, shapes and places of the matrices.
    pub fn layout(&self) -> &Arc<ArenaLayout> {
        &self.layout
    }

    /// The device that the arena is on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Whether the arena holds memory for `id`.
    pub fn has(&self, id: ParameterId) -> bool {
        self.layout.has(id)
    }

    /// The matrix `id`.
    ///
    /// # Panics
    /// When the arena holds no memory for it.
    #[track_caller]
    pub fn view(&self, id: ParameterId) -> View<'_> {
        let (entry, place) = self.layout.place(id);
        View::new(&self.device, entry.rows, entry.columns, self.storage.place(place))
    }

    /// The matrix `id`, to be written.
    ///
    /// # Panics
    /// When the arena holds no memory for it.
    #[track_caller]
    pub fn view_mut(&mut self, id: ParameterId) -> ViewMut<'_> {
        let [view] = self.views_mut([id]);
        view
    }

    /// Several different matrices at once, to be written.
    ///
    /// # Panics
    /// When an id occurs twice, or the arena holds no memory for one.
    #[track_caller]
    pub fn views_mut<const N: usize>(&mut self, ids: [ParameterId; N]) -> [ViewMut<'_>; N] {
        let mut order: [usize; N] = std::array::from_fn(|index| index);
        order.sort_by_key(|&index| ids[index]);
        let mut views: [Option<ViewMut<'_>>; N] = std::array::from_fn(|_| None);
        let mut rest: PlaceMut<'_> = self.storage.place_mut(0..self.layout.len());
        let mut start = 0;
        let mut last = None;
        for index in order {
            assert_ne!(last, Some(ids[index]), "two exclusive views of one arena entry");
            last = Some(ids[index]);
            let (entry, place) = self.layout.place(ids[index]);
            let (_, tail) = rest.split_at(place.start - start);
            let (data, tail) = tail.split_at(place.len());
            views[index] = Some(ViewMut::new(&self.device, entry.rows, entry.columns, data));
            rest = tail;
            start = place.end;
        }
        views.map(|view| view.expect("every id was visited"))
    }

    /// All elements as one row.
    pub fn flat(&self) -> View<'_> {
        let length = self.storage.len();
        View::new(&self.device, 1, length, self.storage.place(0..length))
    }

    /// All elements as one row, to be written.
    pub fn flat_mut(&mut self) -> ViewMut<'_> {
        let length = self.storage.len();
        ViewMut::new(&self.device, 1, length, self.storage.place_mut(0..length))
    }
}
