use crate::error::Error;
use crate::evaluation::Evaluator;
use crate::recipe::document::Document;
use crate::recipe::evaluators::pairs::{
    BinaryClassificationSection, EmbeddingSimilaritySection, MSESection, TranslationSection,
    TripletSection,
};
use crate::recipe::evaluators::rankings::{
    DualEncoderRerankingSection, InformationRetrievalSection, NanoBEIRSection,
    ParaphraseMiningSection,
};
use crate::recipe::evaluators::section::EvaluatorSection;
use rankforge_encoder::{DualEncoder, LoadOptions};
use toml::Value;

/// One of `[[evaluators]]` of a dual encoder; `type` is the name of the class in
/// sentence-transformers.
#[derive(Clone, Debug, PartialEq)]
pub enum DualEncoderEvaluator {
    /// `InformationRetrievalEvaluator`.
    InformationRetrieval(Box<InformationRetrievalSection>),
    /// `NanoBEIREvaluator`.
    NanoBEIR(Box<NanoBEIRSection>),
    /// `EmbeddingSimilarityEvaluator`.
    EmbeddingSimilarity(EmbeddingSimilaritySection),
    /// `BinaryClassificationEvaluator`.
    BinaryClassification(BinaryClassificationSection),
    /// `TripletEvaluator`.
    Triplet(TripletSection),
    /// `RerankingEvaluator`.
    Reranking(DualEncoderRerankingSection),
    /// `ParaphraseMiningEvaluator`.
    ParaphraseMining(ParaphraseMiningSection),
    /// `TranslationEvaluator`.
    Translation(TranslationSection),
    /// `MSEEvaluator`.
    MSE(MSESection),
}

impl EvaluatorSection for DualEncoderEvaluator {
    type Model = DualEncoder;

    const TYPES: &'static [&'static str] = &[
        "InformationRetrievalEvaluator",
        "NanoBEIREvaluator",
        "EmbeddingSimilarityEvaluator",
        "BinaryClassificationEvaluator",
        "TripletEvaluator",
        "RerankingEvaluator",
        "ParaphraseMiningEvaluator",
        "TranslationEvaluator",
        "MSEEvaluator",
    ];

    fn read(
        document: &Document,
        name: &str,
        fields: Value,
        at: &str,
    ) -> Result<DualEncoderEvaluator, Error> {
        use DualEncoderEvaluator as Section;
        Ok(match name {
            "InformationRetrievalEvaluator" => {
                Section::InformationRetrieval(document.read_as(fields, at)?)
            }
            "NanoBEIREvaluator" => Section::NanoBEIR(document.read_as(fields, at)?),
            "EmbeddingSimilarityEvaluator" => {
                Section::EmbeddingSimilarity(document.read_as(fields, at)?)
            }
            "BinaryClassificationEvaluator" => {
                Section::BinaryClassification(document.read_as(fields, at)?)
            }
            "TripletEvaluator" => Section::Triplet(document.read_as(fields, at)?),
            "RerankingEvaluator" => Section::Reranking(document.read_as(fields, at)?),
            "ParaphraseMiningEvaluator" => Section::ParaphraseMining(document.read_as(fields, at)?),
            "TranslationEvaluator" => Section::Translation(document.read_as(fields, at)?),
            "MSEEvaluator" => Section::MSE(document.read_as(fields, at)?),
            _ => return Err(document.unknown_name(&format!("{at}.type"), name, Self::TYPES)),
        })
    }

    fn build(&self, options: &LoadOptions) -> Result<Box<dyn Evaluator<DualEncoder>>, Error> {
        match self {
            DualEncoderEvaluator::InformationRetrieval(section) => section.evaluator(options),
            DualEncoderEvaluator::NanoBEIR(section) => section.evaluator(options),
            DualEncoderEvaluator::EmbeddingSimilarity(section) => section.evaluator(),
            DualEncoderEvaluator::BinaryClassification(section) => section.evaluator(),
            DualEncoderEvaluator::Triplet(section) => section.evaluator(),
            DualEncoderEvaluator::Reranking(section) => section.evaluator(),
            DualEncoderEvaluator::ParaphraseMining(section) => section.evaluator(),
            DualEncoderEvaluator::Translation(section) => section.evaluator(),
            DualEncoderEvaluator::MSE(section) => section.evaluator(options),
        }
    }
}
