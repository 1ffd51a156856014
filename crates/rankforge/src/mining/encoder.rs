use crate::Error;
use rankforge_encoder::{DualEncoder, EncodeOptions, EncoderError, Outputs, Reporter};
use rankforge_kernels::ops::Similarity;
use rankforge_kernels::{Device, Precision};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

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

    /// Names everything the embeddings depend on beside prompts and texts: another name, other embeddings. The key
    /// of the embedding cache. `folder` exists and is for temporary files.
    ///
    /// # Errors
    /// When a temporary file cannot be written.
    fn fingerprint(&self, folder: &Path) -> Result<String, Error>;
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

    /// The hash of parameters, precision, architecture, prompts and tokenizer, so that a model trained further under the same
    /// name never meets its old embeddings.
    fn fingerprint(&self, folder: &Path) -> Result<String, Error> {
        let mut hash = Sha256::new();
        hash.update(format!("{:?} {}", self.model().architecture(), self.dimension()));
        for (name, text) in self.prompts() {
            hash.update(format!("{name:?} {text:?}"));
        }
        hash.update(format!("{:?}", self.max_length()));
        // Nothing where nothing is rounded, so that embeddings that were kept before stay in use.
        let precision = self.model().precision();
        if precision != Precision::Float32 && self.model().architecture().has_linear_layers() {
            hash.update(precision.to_string());
        }
        for value in self.model().parameters().flat().to_vec() {
            hash.update(value.to_le_bytes());
        }
        let failed = |source| Error::Io { path: folder.to_owned(), source };
        let folder = tempfile::tempdir_in(folder).map_err(failed)?;
        self.tokenizer().save(folder.path())?;
        let mut files = Vec::new();
        for entry in fs::read_dir(folder.path()).map_err(failed)? {
            files.push(entry.map_err(failed)?.path());
        }
        files.sort();
        for file in files {
            hash.update(fs::read(&file).map_err(failed)?);
        }
        Ok(super::cache::hexadecimal(&hash.finalize()))
    }
}
