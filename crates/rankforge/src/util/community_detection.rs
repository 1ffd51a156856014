use crate::error::Error;
use crate::retrieval::gather_rows;
use crate::util::semantic_search::OnDevice;
use rankforge_base::{Reporter, Task, silent};
use rankforge_encoder::Outputs;
use rankforge_kernels::Device;
use rankforge_kernels::ops::{Corpus, Neighbour, Similarity};
use std::sync::Arc;

/// How [`community_detection`] searches. The defaults are those of sentence-transformers.
#[derive(Clone, Debug)]
pub struct CommunityOptions {
    /// Least cosine of a member with the centre of its community. Default: 0.75.
    pub threshold: f32,
    /// Least number of members of a community, its centre included. Default: 10.
    pub min_community_size: usize,
    /// Number of rows whose neighbours are searched at a time, which bounds memory. It does not
    /// change the communities. Default: 1,024.
    pub batch_size: usize,
    /// Receives the progress.
    pub reporter: Arc<dyn Reporter>,
}

impl Default for CommunityOptions {
    fn default() -> CommunityOptions {
        CommunityOptions {
            threshold: 0.75,
            min_community_size: 10,
            batch_size: 1_024,
            reporter: silent(),
        }
    }
}

/// Disjoint communities of rows: all members of one have a cosine of at least `threshold` with its
/// centre. The largest comes first; in each, the centre comes first, and then the others by falling
/// cosine.
///
/// Every row with enough neighbours is a possible centre. Those with the most neighbours have
/// precedence, then those with lower indices; a later community loses the members of earlier ones.
///
/// # Shapes
/// `embeddings`: `N x E`.
///
/// # Errors
/// A `min_community_size` or `batch_size` of 0, or a `threshold` that is not a number.
///
/// # Examples
/// ```
/// use rankforge::Device;
/// use rankforge::encoder::Outputs;
/// use rankforge::util::{CommunityOptions, community_detection};
///
/// let values = vec![1.0, 0.0, 0.0, 1.0, 0.9, 0.1];
/// let embeddings = Outputs { rows: 3, columns: 2, values };
/// let options = CommunityOptions { min_community_size: 2, ..CommunityOptions::default() };
/// let communities = community_detection(&Device::cpu(Some(1))?, &embeddings, &options)?;
/// assert_eq!(communities, [[0, 2]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn community_detection(
    device: &Device,
    embeddings: &Outputs,
    options: &CommunityOptions,
) -> Result<Vec<Vec<u32>>, Error> {
    let CommunityOptions { threshold, min_community_size, batch_size, .. } = *options;
    for (field, value) in [("min_community_size", min_community_size), ("batch_size", batch_size)] {
        if value == 0 {
            return Err(Error::argument(field, "at least 1", 0));
        }
    }
    if threshold.is_nan() {
        return Err(Error::argument("threshold", "a cosine", threshold));
    }
    if embeddings.rows < min_community_size {
        return Ok(Vec::new());
    }
    let task = Task::begin(&*options.reporter, "Finding communities", embeddings.rows, "texts");
    let rows = OnDevice::new(device, embeddings.rows, embeddings.columns, &embeddings.values);
    let corpus = Corpus::prepare(Similarity::Cosine, rows.view());
    let mut candidates: Vec<(u32, Vec<u32>)> = Vec::new();
    for start in (0..embeddings.rows).step_by(batch_size) {
        let end = embeddings.rows.min(start + batch_size);
        let mut found = neighbourhoods(&corpus, (start as u32..end as u32).collect(), options);
        found.sort_by_key(|(centre, _)| *centre);
        candidates.extend(found);
        task.advance(end - start);
    }
    candidates.sort_by_key(|(_, members)| std::cmp::Reverse(members.len()));
    Ok(disjoint(candidates, embeddings.rows, min_community_size))
}

/// The neighbours of `centres` whose cosine reaches the threshold, best first, for those centres
/// that have enough of them.
fn neighbourhoods(
    corpus: &Corpus<'_>,
    mut centres: Vec<u32>,
    options: &CommunityOptions,
) -> Vec<(u32, Vec<u32>)> {
    let rows = corpus.view().rows();
    let mut found = Vec::new();
    // Most rows have few neighbours, so the search for all of them begins with few.
    let mut k = options.min_community_size;
    while !centres.is_empty() {
        let queries = gather_rows(corpus.view(), &centres);
        let nearest = corpus.top_k(queries.view(), k, &|_| ());
        let mut more = Vec::new();
        for (centre, nearest) in centres.into_iter().zip(nearest) {
            let near = |neighbour: &&Neighbour| neighbour.score >= options.threshold;
            let members: Vec<u32> = nearest.iter().take_while(near).map(|n| n.index).collect();
            if members.len() == nearest.len() && k < rows {
                more.push(centre);
            } else if members.len() >= options.min_community_size {
                found.push((centre, members));
            }
        }
        centres = more;
        k = (2 * k).max(50).min(rows);
    }
    found
}

/// Gives every row to the first community that has it, and keeps those that are large enough.
fn disjoint(candidates: Vec<(u32, Vec<u32>)>, rows: usize, least: usize) -> Vec<Vec<u32>> {
    let mut used = vec![false; rows];
    let mut communities = Vec::new();
    for (centre, mut members) in candidates {
        if used[centre as usize] {
            continue;
        }
        members.retain(|member| !used[*member as usize]);
        if members.len() >= least {
            members.retain(|member| *member != centre);
            members.insert(0, centre);
            members.iter().for_each(|member| used[*member as usize] = true);
            communities.push(members);
        }
    }
    communities.sort_by_key(|members| std::cmp::Reverse(members.len()));
    communities
}
