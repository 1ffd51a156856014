//! Settings of the operations: plain data, and the few functions that every device shares.
//! Public ones are part of [`ops`](crate::ops); those with `Of` in their names hold the matrices of
//! a device instead of views.

pub(crate) mod activation;
pub(crate) mod arithmetic;
pub(crate) mod attention;
pub(crate) mod contrast;
pub(crate) mod dropout;
pub(crate) mod linear;
pub(crate) mod norm;
pub(crate) mod optimizer;
pub(crate) mod pooling;
pub(crate) mod rotary;
pub(crate) mod rows;
pub(crate) mod similarity;
pub(crate) mod update_rule;
pub(crate) mod zeros;
