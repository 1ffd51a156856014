use serde_json::{from_value, to_value};
use tokenizers::processors::template::{Piece, Sequence, TemplateProcessing};
use tokenizers::{Encoding, PostProcessor, PostProcessorWrapper};

/// Checks that templates name only texts and special tokens that exist, which the tokenizers crate
/// does not check.
///
/// # Errors
/// An unknown name, or a second text in the template for a single one.
pub(super) fn check(processor: &PostProcessorWrapper) -> Result<(), String> {
    match processor {
        PostProcessorWrapper::Sequence(steps) => steps.as_ref().iter().try_for_each(check),
        PostProcessorWrapper::Template(template) => check_template(template),
        _ => Ok(()),
    }
}

fn check_template(processing: &TemplateProcessing) -> Result<(), String> {
    for (name, template) in [("single", &processing.single), ("pair", processing.get_pair())] {
        // The pieces are private, but a template is written as a list of them.
        let pieces = to_value(template).and_then(from_value::<Vec<Piece>>);
        for piece in pieces.map_err(|error| error.to_string())? {
            match piece {
                Piece::Sequence { id: Sequence::B, .. } if name == "single" => {
                    return Err("the template `single` names a second text".to_owned());
                }
                Piece::SpecialToken { id, .. }
                    if !processing.get_special_tokens().0.contains_key(&id) =>
                {
                    let message = format!("the template `{name}` names \"{id}\"");
                    return Err(format!("{message}, which is not one of its special_tokens"));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// The special tokens that a post-processor adds to a single text or to a pair, and the segment
/// ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    /// The special tokens before the first text, after the first text, and after the second text,
    /// as pairs (id, segment id).
    special: [Vec<(u32, u32)>; 3],
    /// Segment id of each text.
    segments: [u32; 2],
}

impl Template {
    /// The template of a post-processor, with or without its special tokens.
    ///
    /// No post-processor of the tokenizers crate looks at the tokens of the texts. Processing texts
    /// of one placeholder token each therefore shows what it does to any texts.
    ///
    /// # Errors
    /// A post-processor that does not use each text exactly once and in order. Lengths, ids and
    /// segments are checked by the template, so nothing else can be allowed.
    pub(super) fn new(
        processor: Option<&PostProcessorWrapper>,
        special_tokens: bool,
        pair: bool,
    ) -> Result<Template, String> {
        /// Ids that stand for the texts.
        const PLACEHOLDERS: [u32; 2] = [u32::MAX, u32::MAX - 1];
        let Some(processor) = processor else {
            return Ok(Template { special: Default::default(), segments: [0, 1] });
        };
        let error = || {
            let inputs = if pair { "a pair" } else { "a single text" };
            format!("the post-processor for {inputs} must use each text once, and in order")
        };
        let second = pair.then(|| encoding(vec![PLACEHOLDERS[1]], 1));
        let first = encoding(vec![PLACEHOLDERS[0]], 0);
        let whole = processor.process(first, second, special_tokens);
        let whole = whole.map_err(|error| error.to_string())?;
        let mut template = Template { special: Default::default(), segments: [0, 1] };
        let mut texts = 0;
        for (&id, &segment) in whole.get_ids().iter().zip(whole.get_type_ids()) {
            match PLACEHOLDERS.iter().position(|placeholder| *placeholder == id) {
                Some(text) if text == texts => {
                    template.segments[text] = segment;
                    texts += 1;
                }
                Some(_) => return Err(error()),
                None => template.special[texts].push((id, segment)),
            }
        }
        if texts == 1 + usize::from(pair) { Ok(template) } else { Err(error()) }
    }

    /// Number of special tokens.
    pub(super) fn special_tokens(&self) -> usize {
        self.special.iter().map(Vec::len).sum()
    }

    /// The ids of the special tokens.
    pub(super) fn ids(&self) -> impl Iterator<Item = u32> {
        self.special.iter().flatten().map(|(id, _)| *id)
    }

    /// The largest segment id of a special token or a text.
    pub(super) fn largest_segment(&self) -> u32 {
        let special = self.special.iter().flatten().map(|(_, segment)| *segment);
        special.chain(self.segments).max().unwrap_or(0)
    }

    /// Ids and segment ids of the sequence for these texts.
    pub(super) fn fill(&self, first: &[u32], second: Option<&[u32]>) -> (Vec<u32>, Vec<u32>) {
        let length = self.special_tokens() + first.len() + second.map_or(0, <[u32]>::len);
        let (mut ids, mut segments) = (Vec::with_capacity(length), Vec::with_capacity(length));
        let texts = [Some(first), second, None];
        for (index, (special, text)) in self.special.iter().zip(texts).enumerate() {
            for &(id, segment) in special {
                ids.push(id);
                segments.push(segment);
            }
            if let Some(text) = text {
                ids.extend_from_slice(text);
                segments.resize(ids.len(), self.segments[index]);
            }
        }
        (ids, segments)
    }
}

/// An encoding of these ids, all of one segment. Its other fields have placeholder values, as they
/// are never read.
fn encoding(ids: Vec<u32>, segment: u32) -> Encoding {
    let length = ids.len();
    Encoding::new(
        ids,
        vec![segment; length],
        vec![String::new(); length],
        vec![None; length],
        vec![(0, 0); length],
        vec![0; length],
        vec![1; length],
        Vec::new(),
        Default::default(),
    )
}

/// The templates for a single text and for a pair.
///
/// # Errors
/// See [`Template::new`].
pub(super) fn templates(
    tokenizer: &tokenizers::Tokenizer,
    special_tokens: bool,
) -> Result<[Template; 2], String> {
    let template = |pair| Template::new(tokenizer.get_post_processor(), special_tokens, pair);
    Ok([template(false)?, template(true)?])
}
