//! Matrix products.
//!
//! The large ones, of linear layers: an operand is packed once per product (`pack`), into words of
//! the format that the precision and the instruction set ask for; a plan cuts the output into tiles
//! (`plan`, `tiles`), and every tile is finished while it is in cache. `gradients` makes both
//! gradients of a layer together. The small ones, of attention and of searches, are in `small`. All
//! of them end in the register-blocked core of `block`.
//!
//! Each element of a large product is one chain of multiply-adds in the order of the depth, cut
//! every depth block of words. The chain does not depend on tiles, threads or the other rows.

pub(crate) mod block;
pub(crate) mod format;
mod gradients;
mod operand;
pub(crate) mod pack;
mod panels;
mod plan;
mod product;
pub(crate) mod small;
mod tiles;

pub(crate) use format::product_path;
pub(crate) use gradients::{InputProduct, gradients};
pub(crate) use operand::{Operand, Product};
pub(crate) use panels::{PackedPanels, PanelRows};
pub(crate) use product::{product, product_with_packed};
