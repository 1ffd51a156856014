use rankforge_encoder::{DualEncoder, EncodeOptions, EncoderError, Outputs, Reporter};
use rankforge_kernels::Device;
use rankforge_kernels::ops::Similarity;

/// Turns queries and documents into vectors; a [`DualEncoder`], or a table in tests.
pub trait TextEncoder: Sync {
    /// One embedding for each query.
    ///
    /// # Shapes
    /// `B` texts give `B x E`.
    ///
    /// # Errors
    /// As [`DualEncoder::encode_query`].
    fn encode_queries(
        &self,
        texts: &[&str],
        options: &EncodeOptions,
        reporter: &dyn Reporter,
    ) -> Result<Outputs, EncoderError>;

    /// One embedding for each document.
    ///
    /// # Shapes
    /// `B` texts give `B x E`.
    ///
    /// # Errors
    /// As [`DualEncoder::encode_document`].
    fn encode_documents(
        &self,
        texts: &[&str],
        options: &EncodeOptions,
        reporter: &dyn Reporter,
    ) -> Result<Outputs, EncoderError>;

    /// How its embeddings are compared.
    fn similarity(&self) -> Similarity;

    /// Where the search runs.
    fn device(&self) -> &Device;
}

impl TextEncoder for DualEncoder {
    fn encode_queries(
        &self,
        texts: &[&str],
        options: &EncodeOptions,
        reporter: &dyn Reporter,
    ) -> Result<Outputs, EncoderError> {
        self.encode_query(texts, options, reporter)
    }

    fn encode_documents(
        &self,
        texts: &[&str],
        options: &EncodeOptions,
        reporter: &dyn Reporter,
    ) -> Result<Outputs, EncoderError> {
        self.encode_document(texts, options, reporter)
    }

    fn similarity(&self) -> Similarity {
        DualEncoder::similarity(self)
    }

    fn device(&self) -> &Device {
        self.model().device()
    }
}
