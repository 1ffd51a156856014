use tokenizers::{Encoding, PostProcessor, PostProcessorWrapper};

/// The special tokens around one text, or around and between two, and everyone's segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    /// Before the first text, after it (before the second), after the second: ids and segments.
    special: [Vec<(u32, u32)>; 3],
    /// Segments of the texts.
    segments: [u32; 2],
}

impl Template {
    /// What `processor` does to one text or to a pair; `None` when it does not take each text once, in order.
    ///
    /// None of the crate's processors looks at the tokens, so that what happens to one token of each text tells.
    pub(super) fn of(
        processor: Option<&PostProcessorWrapper>,
        special_tokens: bool,
        pair: bool,
    ) -> Option<Template> {
        const TEXTS: [u32; 2] = [u32::MAX, u32::MAX - 1];
        let Some(processor) = processor else {
            return Some(Template { special: Default::default(), segments: [0, 1] });
        };
        let second = pair.then(|| encoding(vec![TEXTS[1]], 1));
        let first = encoding(vec![TEXTS[0]], 0);
        let whole = processor.process(first, second, special_tokens).ok()?;
        let mut template = Template { special: Default::default(), segments: [0, 1] };
        let mut texts = 0;
        for (&id, &segment) in whole.get_ids().iter().zip(whole.get_type_ids()) {
            match TEXTS.iter().position(|text| *text == id) {
                Some(text) if text == texts => {
                    template.segments[text] = segment;
                    texts += 1;
                }
                Some(_) => return None,
                None => template.special[texts].push((id, segment)),
            }
        }
        (texts == 1 + usize::from(pair)).then_some(template)
    }

    /// The largest id of a special token.
    pub(super) fn largest_id(&self) -> Option<u32> {
        self.special.iter().flatten().map(|(id, _)| *id).max()
    }

    /// The largest segment of a special token or a text.
    pub(super) fn largest_segment(&self) -> u32 {
        let special = self.special.iter().flatten().map(|(_, segment)| *segment);
        special.chain(self.segments).max().unwrap_or(0)
    }

    /// Ids and segments of a whole sequence.
    pub(super) fn fill(&self, first: &[u32], second: Option<&[u32]>) -> (Vec<u32>, Vec<u32>) {
        let special: usize = self.special.iter().map(Vec::len).sum();
        let length = special + first.len() + second.map_or(0, <[u32]>::len);
        let (mut ids, mut segments) = (Vec::with_capacity(length), Vec::with_capacity(length));
        let texts = [Some(first), second, None];
        for (place, (special, text)) in self.special.iter().zip(texts).enumerate() {
            for &(id, segment) in special {
                ids.push(id);
                segments.push(segment);
            }
            if let Some(text) = text {
                ids.extend_from_slice(text);
                segments.resize(ids.len(), self.segments[place]);
            }
        }
        (ids, segments)
    }
}

/// An encoding of these ids; nothing else of it is ever read.
pub(super) fn encoding(ids: Vec<u32>, segment: u32) -> Encoding {
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
