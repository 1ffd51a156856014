//! The closed list of operations: the seam between model code and devices.
//!
//! A file here says what each operation computes, asserts the shapes and calls the device's body;
//! backward is below forward. All operands of a call are on one device, and no operation falls back
//! to another.
//!
//! # Waiting
//! A device may run behind the host. Three calls wait for it in the course of a run: reading
//! outputs ([`View::read`](crate::View::read), once a micro-batch), [`sum_of_squares`] (once a
//! step), and a search ([`Corpus::top_k`] and [`StoredCorpus::top_k`], with
//! [`pairwise_similarity`]). [`zeros`] waits too; a run calls it once, after its first backward
//! pass. No other call gives the host anything to wait for.
//!
//! # Files
//! | file | operations |
//! |---|---|
//! | `linear` | matrix product with bias, activation, dropout and residual; its backward |
//! | `norm` | layer norm; row normalisation to unit length |
//! | `activation` | gelu, relu, tanh, silu, sigmoid and their slopes; geglu and swiglu |
//! | `dropout` | counter-based dropout |
//! | `columns` | a range of columns out of a matrix, and into one |
//! | `elementwise` | add, scale, column sums; whether all elements are zero |
//! | `rotary` | rotary position embedding |
//! | `embedding` | gather and its gradient |
//! | `attention` | ragged softmax attention |
//! | `contrast` | softmax over in-batch candidates, its losses and gradients |
//! | `pooling` | the tokens of a sequence to one vector |
//! | `top_k` | the best rows of a corpus for each query, in blocks |
//! | `stored` | rows in bytes as files keep them, and the search in them |
//! | `optimizer` | AdamW, sum of squares |
//! | `update` | the other optimizers |

mod activation;
mod attention;
mod columns;
mod contrast;
mod dropout;
mod elementwise;
mod embedding;
mod linear;
mod norm;
mod optimizer;
mod pooling;
mod rotary;
mod stored;
mod top_k;
mod update;

pub use crate::settings::activation::{Activation, Gate};
pub use crate::settings::attention::{AttentionBackward, Qkv, relative_bucket};
pub use crate::settings::contrast::OwnColumns;
pub use crate::settings::dropout::Dropout;
pub use crate::settings::norm::{LayerNormBackward, SMALLEST_NORM};
pub use crate::settings::optimizer::AdamW;
pub use crate::settings::pooling::Pooling;
pub use crate::settings::rows::{RowSource, Skipped};
pub use crate::settings::similarity::{Neighbour, Similarity};
pub use crate::settings::update_rule::{OptimizerStep, UpdateRule};
pub use crate::settings::zeros::Zeros;
pub use activation::{activate, activate_backward, gated, gated_backward};
pub use attention::{Attention, RelativeBias, attention, attention_backward};
pub use columns::{read_columns, write_columns};
pub use contrast::{ContrastGuide, ContrastScores, contrast};
pub use dropout::{dropout, dropout_to};
pub use elementwise::{add, column_sums, scale, zeros};
pub use embedding::{gather, gather_backward};
pub use linear::backward::{InputGradient, Store, WeightGradient, linear_backward};
pub use linear::{Epilogue, linear};
pub use norm::{layer_norm, layer_norm_backward, normalize, normalize_backward};
pub use optimizer::{adamw, sum_of_squares};
pub use pooling::{Pool, pool, pool_backward, pool_embeddings, pool_embeddings_backward};
pub use rotary::{Rotary, rotary, rotary_backward};
pub use stored::{ByteRows, StoredCorpus};
pub use top_k::{Corpus, CorpusRows, pairwise_similarity};
pub use update::{SecondMoment, adafactor, update};
