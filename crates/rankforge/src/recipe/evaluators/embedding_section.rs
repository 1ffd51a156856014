use crate::error::Error;
use rankforge_data::{Location, Rows, load_rows};

/// The data of a section.
pub(super) trait EmbeddingData {
    /// Where they are.
    fn location(&self) -> Location;

    /// Their name; may be empty.
    fn name(&self) -> &str;

    /// All rows.
    ///
    /// # Errors
    /// As [`load_rows`].
    fn rows(&self) -> Result<Rows, Error> {
        Ok(load_rows(&self.location())?)
    }
}

/// Declares the section of an evaluator of dual encoders: the fields that all of them have, then
/// its own.
macro_rules! embedding_section {
    (
        $(#[$attribute:meta])* $name:ident {
            $($(#[$field_attribute:meta])* $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// Data set.
            pub path: std::path::PathBuf,
            /// Split of a folder.
            #[serde(default)]
            pub split: Option<String>,
            /// The columns to read; else the first ones.
            #[serde(default)]
            pub columns: Option<Vec<String>>,
            /// The first rows, or queries, only.
            #[serde(default)]
            pub limit: Option<std::num::NonZeroUsize>,
            /// Prefix of the metrics' keys.
            #[serde(default)]
            pub name: Option<String>,
            /// Numbers of leading dimensions of the embeddings; none: those of the model. Several
            /// follow the names in the metrics' keys.
            #[serde(default)]
            pub truncate_dim: $crate::recipe::evaluators::fields::Dimensions,
            /// Maximum number of texts in a batch.
            #[serde(default)]
            pub batch_size: Option<std::num::NonZeroUsize>,
            /// Whether the CSV file is written.
            #[serde(default)]
            pub write_csv: Option<bool>,
            $($(#[$field_attribute])* #[serde(default)] pub $field: $type,)*
        }

        impl $crate::recipe::evaluators::embedding_section::EmbeddingData for $name {
            fn location(&self) -> rankforge_data::Location {
                $crate::recipe::evaluators::location::location(
                    &self.path,
                    &self.split,
                    &self.columns,
                    self.limit,
                )
            }

            fn name(&self) -> &str {
                self.name.as_deref().unwrap_or($crate::recipe::evaluators::location::NO_NAME)
            }
        }
    };
}

pub(super) use embedding_section;
