//! What is wrong with training data before anybody trains on it: empty, long and repeated texts,
//! near duplicates, positives that are also negatives, held-out texts among the training data,
//! labels that contradict each other or are rare.
//!
//! ```
//! use rankforge::data::{Rows, Value};
//! use rankforge::lint::{Kind, Lint, LintOptions};
//! use rankforge::Workers;
//!
//! let texts = |all: [&str; 2]| all.map(|text| Value::Text(text.to_owned())).to_vec();
//! let rows = Rows::new(vec![
//!     ("query".to_owned(), texts(["what is rust", "What is  rust"])),
//!     ("answer".to_owned(), texts(["a language", "a language"])),
//! ])?;
//! let lint = Lint::of(&rows, &[], &LintOptions::default(), &Workers::new(Some(1))?)?;
//! assert_eq!(lint.findings[0].kind, Kind::DuplicateRow);
//! assert_eq!(lint.without(&[Kind::DuplicateRow]), [0]);
//! # Ok::<(), rankforge::Error>(())
//! ```

mod checks;
mod finding;
mod held_out;
mod labels;
mod lengths;
mod linter;
mod near_duplicates;
mod table;
mod words;

pub use finding::{Example, Finding, Kind, Place, Severity};
pub use labels::LabelSummary;
pub use lengths::LengthSummary;
pub use linter::{HeldOut, Lint, LintOptions};
