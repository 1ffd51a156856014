//! The search by bytes: row by row for few queries, in panels of queries for more.

use crate::cpu::machine::Cpu;
use crate::cpu::matrix::Matrix;
use crate::cpu::top_k::blocks::by_blocks;
use crate::cpu::top_k::candidates::{Candidates, Reached};
use crate::cpu::top_k::few;
use crate::cpu::top_k::propose::{BLOCK, ByteSearch, TILE};
use crate::cpu::top_k::rounded::RoundedCorpus;
use crate::cpu::top_k::scores::{ExactRows, Scores};
use crate::settings::rows::Skipped;
use crate::settings::similarity::Neighbour;
use rayon::prelude::*;
use std::io;

/// What is searched for, and where.
pub(crate) struct ProposedSearch<'a> {
    pub(crate) queries: Matrix<'a>,
    /// The rows that `RoundedCorpus` has in bytes.
    pub(crate) rows: ExactRows<'a>,
    pub(crate) skipped: Skipped<'a>,
    /// At least 1.
    pub(crate) k: usize,
}

/// The `k` best rows of `prepared` for each query; fails when a row cannot be read.
pub(crate) fn search(
    cpu: &Cpu,
    prepared: &RoundedCorpus<'_>,
    search: ProposedSearch<'_>,
    done: &(dyn Fn(usize) + Sync),
) -> io::Result<Vec<Vec<Neighbour>>> {
    let ProposedSearch { queries, rows, skipped, k } = search;
    let isa = cpu.isa();
    let scores = Scores::new(isa, prepared, rows);
    let search = ByteSearch { isa, queries, prepared, scores, skipped, k };
    let found = if queries.rows <= few::MOST {
        few::search(cpu, &search, done)
    } else {
        by_blocks(cpu, (queries.rows, prepared.rows), (BLOCK, TILE), done, |queries, parts| {
            let reached: Vec<Reached> = queries.clone().map(|_| Reached::new()).collect();
            let scan = |part| search.scan(queries.clone(), part, &reached);
            let mut parts = parts.into_par_iter().map(scan).collect::<Vec<_>>().into_iter();
            let mut lists = parts.next().unwrap_or_default();
            for part in parts {
                lists.iter_mut().zip(&part).for_each(|(list, part)| list.extend(part));
            }
            search.decide(queries.start, &mut lists);
            lists.iter().map(Candidates::finish).collect()
        })
    };
    search.scores.finish()?;
    Ok(found)
}
