use crate::reference::matrix::{Matrix, MatrixMut, Sequences};
use crate::reference::memory::Integers;
use crate::settings::rotary::RotationOf;

/// A rotation with memory of the reference device.
type Rotation<'a> = RotationOf<Sequences<'a>, &'a Integers, Matrix<'a>>;

/// Rotates the pair `(a, b)` of elements `i` and `i + D/2` of a head by the angle of its token's
/// position: `(a cos - b sin, b cos + a sin)`, or back by it.
///
/// A row of `table` is the cosines of a position, then its sines. Rows of `x` are those of
/// `tokens`, or of all tokens.
pub(crate) fn rotate(rotation: Rotation<'_>, mut x: MatrixMut<'_>) {
    let Rotation { table, sequences, tokens, heads, back } = rotation;
    let (head_dim, half) = (table.columns, table.columns / 2);
    let sign = if back { -1.0 } else { 1.0 };
    for row in 0..x.rows {
        let token = tokens.map_or(row, |tokens| tokens.at(row));
        let position = token - sequences.range(sequences.of_token(token)).start;
        for head in 0..heads {
            for index in 0..half {
                let (cosine, sine) = (table.at(position, index), table.at(position, half + index));
                let (left, right) = (head * head_dim + index, head * head_dim + index + half);
                let (a, b) = (x.at(row, left), x.at(row, right));
                x.put(row, left, a * cosine - b * sign * sine);
                x.put(row, right, b * cosine + a * sign * sine);
            }
        }
    }
}
