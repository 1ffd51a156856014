//! The closed list of operations; one file for each family, backward below forward.
//!
//! | file | operations |
//! |---|---|
//! | `linear` | matrix product with bias, activation, dropout and residual epilogue; its two backward products |
//! | `norm` | layer norm; row normalisation to unit length |
//! | `activation` | gelu (exact, tanh), relu, tanh, silu, sigmoid; geglu and swiglu |
//! | `dropout` | counter-based dropout |
//! | `elementwise` | add; whether all elements are zero |
//! | `rotary` | rotary position embedding |
//! | `embedding` | gather and its gradient |
//! | `attention` | ragged softmax attention |
//! | `pooling` | tokens of a sequence to one vector |
//! | `top_k` | best rows of a corpus for each query, in blocks |
//! | `optimizer` | AdamW, sum of squares |

pub(crate) mod activation;
pub(crate) mod attention;
pub(crate) mod dropout;
pub(crate) mod elementwise;
pub(crate) mod embedding;
pub(crate) mod linear;
pub(crate) mod norm;
pub(crate) mod optimizer;
pub(crate) mod pooling;
pub(crate) mod rotary;
pub(crate) mod top_k;

pub use activation::{Activation, Gate, activate_backward, gated, gated_backward};
pub use attention::{Attention, Qkv, RelativeBias, attention, attention_backward, relative_bucket};
pub use dropout::{Dropout, dropout, dropout_to};
pub use elementwise::{Zeros, add, zeros};
pub use embedding::{gather, gather_backward};
pub use linear::backward::{InputGradient, Store, WeightGradient, linear_backward};
pub use linear::{Epilogue, linear};
pub use norm::{layer_norm, layer_norm_backward, normalize, normalize_backward};
pub use optimizer::{AdamW, adamw, sum_of_squares};
pub use pooling::{Pooling, pool, pool_backward, pool_embeddings};
pub use rotary::{Rotary, rotary, rotary_backward};
pub use top_k::{Corpus, CorpusRows, Neighbour, Similarity, pairwise_similarity};
