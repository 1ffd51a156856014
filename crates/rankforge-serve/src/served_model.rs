use rankforge_encoder::{CrossEncoder, DualEncoder, TextModel};

/// The model of a server.
pub enum ServedModel {
    /// A reranker if it has one label, else a classifier: `/rerank` and `/predict`.
    CrossEncoder(CrossEncoder),
    /// A dual encoder: `/embed`.
    DualEncoder(DualEncoder),
}

impl From<CrossEncoder> for ServedModel {
    fn from(model: CrossEncoder) -> ServedModel {
        ServedModel::CrossEncoder(model)
    }
}

impl From<DualEncoder> for ServedModel {
    fn from(model: DualEncoder) -> ServedModel {
        ServedModel::DualEncoder(model)
    }
}

impl ServedModel {
    /// What both kinds have in common.
    pub(crate) fn as_model(&self) -> &dyn TextModel {
        match self {
            ServedModel::CrossEncoder(encoder) => encoder,
            ServedModel::DualEncoder(encoder) => encoder,
        }
    }
}
