/// A rotation as a device takes it: `S` are its sequences, `Q` its indices, `V` its matrices.
#[derive(Clone, Copy)]
pub(crate) struct RotationOf<S, Q, V> {
    /// Cosines, then sines, of each position.
    pub(crate) table: V,
    pub(crate) sequences: S,
    /// The token of each row; `None` when rows are tokens.
    pub(crate) tokens: Option<Q>,
    pub(crate) heads: usize,
    /// By the angles of the table, or back by them.
    pub(crate) back: bool,
}
