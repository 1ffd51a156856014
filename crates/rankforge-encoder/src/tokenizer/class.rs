//! The tokenizer class that `AutoTokenizer` of transformers picks for a directory, and its rules.

use crate::tokenizer::token_spec::TokenSpec;

/// A tokenizer class of transformers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenizerClass {
    /// `TokenizersBackend`, also called `PreTrainedTokenizerFast`: what `tokenizer.json` says.
    Backend,
    Bert,
    DistilBert,
    MPNet,
    Roberta,
    XlmRoberta,
    Camembert,
}

/// The type of the model that a class builds its tokenizer around. Everything but the vocabulary is
/// the class's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ModelKind {
    WordPiece,
    BytePairs,
    Unigram,
}

/// The fields of special tokens that every class has, in the order in which transformers adds them.
pub(super) const ROLES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// The special tokens that CamemBERT has unless its files name others.
const CAMEMBERT_EXTRA: [&str; 3] = ["<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"];

/// Further classes of transformers, without the suffixes, that give segment ids by default.
const WITH_SEGMENTS: [&str; 10] = [
    "Canine",
    "ConvBert",
    "DPRContextEncoder",
    "DPRQuestionEncoder",
    "Deberta",
    "DebertaV2",
    "FNet",
    "LayoutLMv2",
    "MarkupLM",
    "Tapas",
];

/// The name of a class without its suffixes; `None` for one without the suffix `Tokenizer`.
fn family(class: &str) -> Option<&str> {
    class.strip_suffix("Fast").unwrap_or(class).strip_suffix("Tokenizer")
}

/// Whether a class of this name, which is not a [`TokenizerClass`], gives segment ids by default.
pub(super) fn other_class_has_segments(class: &str) -> bool {
    family(class).is_some_and(|family| WITH_SEGMENTS.contains(&family))
}

impl TokenizerClass {
    /// The class for a `model_type` in `config.json` and a `tokenizer_class` in
    /// `tokenizer_config.json` or `config.json`. `None` for a class that is not known here.
    pub(super) fn pick(model_type: Option<&str>, class: Option<&str>) -> Option<TokenizerClass> {
        let of_model = match model_type {
            // The classes that these models name are known to be wrong, so they do not count.
            Some("modernbert") => return Some(TokenizerClass::Backend),
            Some("bert" | "distilbert" | "electra") => TokenizerClass::Bert,
            Some("mpnet") => TokenizerClass::MPNet,
            Some("roberta") => TokenizerClass::Roberta,
            Some("xlm-roberta") => TokenizerClass::XlmRoberta,
            Some("camembert") => TokenizerClass::Camembert,
            _ => TokenizerClass::Backend,
        };
        let Some(class) = class else { return Some(of_model) };
        match family(class) {
            Some("PreTrained" | "Bloom") => Some(TokenizerClass::Backend),
            // In transformers the others are names of the same class.
            Some("Bert" | "Electra" | "LayoutLM" | "Lxmert" | "MobileBert" | "SqueezeBert") => {
                Some(TokenizerClass::Bert)
            }
            Some("DistilBert") => Some(TokenizerClass::DistilBert),
            Some("MPNet") => Some(TokenizerClass::MPNet),
            Some("Roberta" | "Bart" | "LED" | "Longformer" | "Mvp") => {
                Some(TokenizerClass::Roberta)
            }
            Some("XLMRoberta") => Some(TokenizerClass::XlmRoberta),
            Some("Camembert") => Some(TokenizerClass::Camembert),
            None if class == "TokenizersBackend" => Some(TokenizerClass::Backend),
            _ => None,
        }
    }

    /// Name of the class in transformers.
    pub(super) fn name(self) -> &'static str {
        match self {
            TokenizerClass::Backend => "PreTrainedTokenizerFast",
            TokenizerClass::Bert => "BertTokenizer",
            TokenizerClass::DistilBert => "DistilBertTokenizer",
            TokenizerClass::MPNet => "MPNetTokenizer",
            TokenizerClass::Roberta => "RobertaTokenizer",
            TokenizerClass::XlmRoberta => "XLMRobertaTokenizer",
            TokenizerClass::Camembert => "CamembertTokenizer",
        }
    }

    /// The model that the class builds; `None` where that of `tokenizer.json` is used as it is.
    pub(super) fn model(self) -> Option<ModelKind> {
        match self {
            TokenizerClass::Backend => None,
            TokenizerClass::Bert | TokenizerClass::DistilBert | TokenizerClass::MPNet => {
                Some(ModelKind::WordPiece)
            }
            TokenizerClass::Roberta => Some(ModelKind::BytePairs),
            TokenizerClass::XlmRoberta | TokenizerClass::Camembert => Some(ModelKind::Unigram),
        }
    }

    /// Whether the class gives segment ids (`token_type_ids`) by default.
    pub(super) fn has_segments(self) -> bool {
        self == TokenizerClass::Bert
    }

    /// The special token that the class has in a role unless the files name another.
    pub(super) fn default_token(self, role: &str) -> Option<TokenSpec> {
        let content = match (self, role) {
            (TokenizerClass::Backend, _) => return None,
            (TokenizerClass::Bert | TokenizerClass::DistilBert, _) => match role {
                "unk_token" => "[UNK]",
                "sep_token" => "[SEP]",
                "pad_token" => "[PAD]",
                "cls_token" => "[CLS]",
                "mask_token" => "[MASK]",
                _ => return None,
            },
            (TokenizerClass::MPNet, "unk_token") => "[UNK]",
            (_, "unk_token") => "<unk>",
            (_, "bos_token" | "cls_token") => "<s>",
            (_, "eos_token" | "sep_token") => "</s>",
            (_, "pad_token") => "<pad>",
            (_, "mask_token") => "<mask>",
            _ => return None,
        };
        Some(self.token(role, content))
    }

    /// The special token of a role that the files give as a text.
    pub(super) fn token(self, role: &str, content: &str) -> TokenSpec {
        let strips = matches!(self, TokenizerClass::MPNet | TokenizerClass::Camembert);
        TokenSpec { lstrip: strips && role == "mask_token", ..TokenSpec::special(content) }
    }

    /// The further special tokens of the class where the files name none.
    pub(super) fn default_extra(self) -> Vec<TokenSpec> {
        match self {
            TokenizerClass::Camembert => CAMEMBERT_EXTRA.map(TokenSpec::special).into(),
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::TokenizerClass;

    #[test]
    fn the_class_is_that_of_the_files_or_else_that_of_the_model() {
        let name = |model, class| TokenizerClass::pick(model, class).map(TokenizerClass::name);
        assert_eq!(name(Some("distilbert"), None), Some("BertTokenizer"));
        let distilbert = name(Some("distilbert"), Some("DistilBertTokenizerFast"));
        assert_eq!(distilbert, Some("DistilBertTokenizer"));
        let multilingual = name(Some("bert"), Some("XLMRobertaTokenizerFast"));
        assert_eq!(multilingual, Some("XLMRobertaTokenizer"));
        let generic = Some("PreTrainedTokenizerFast");
        assert_eq!(name(Some("modernbert"), Some("BertTokenizer")), generic);
        assert_eq!(name(Some("bert"), Some("TokenizersBackend")), generic);
        assert_eq!(name(Some("bert"), Some("BertJapaneseTokenizer")), None);
        assert_eq!(name(None, None), generic);
    }
}
