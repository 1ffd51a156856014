use crate::error::Error;
use crate::evaluation::Evaluator;
use crate::recipe::document::Document;
use crate::recipe::evaluators::section::EvaluatorSection;
use rankforge_encoder::{DualEncoder, LoadOptions};
use toml::Value;

/// One of `[[evaluators]]` of a dual encoder; `type` is the name of the class in
/// sentence-transformers.
#[derive(Clone, Debug, PartialEq)]
pub enum DualEncoderEvaluator {}

impl EvaluatorSection for DualEncoderEvaluator {
    type Model = DualEncoder;

    const TYPES: &'static [&'static str] = &[];

    fn read(
        document: &Document,
        name: &str,
        _fields: Value,
        at: &str,
    ) -> Result<DualEncoderEvaluator, Error> {
        Err(document.unknown_name(&format!("{at}.type"), name, Self::TYPES))
    }

    fn build(&self, _options: &LoadOptions) -> Result<Box<dyn Evaluator<DualEncoder>>, Error> {
        match *self {}
    }
}
