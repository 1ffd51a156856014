use crate::{View, ViewMut};

/// `out += x`.
pub fn add(x: View<'_>, out: ViewMut<'_>) {
    unimplemented!()
}

/// `x *= factor`.
pub fn scale(factor: f32, x: ViewMut<'_>) {
    unimplemented!()
}
