use crate::error::Error;
use crate::mining::miner::{HardNegativeMiner, Piece};
use crate::mining::outcome::Summary;
use rankforge_base::Stop;
use rankforge_data::{RowWriter, Rows};
use std::path::Path;

/// Rows that were mined into a file.
#[derive(Clone, Debug)]
pub struct MinedFile {
    /// Figures.
    pub summary: Summary,
    /// The printed text, line by line.
    pub lines: Vec<String>,
    /// Names of the columns.
    pub columns: Vec<String>,
}

impl HardNegativeMiner<'_> {
    /// [`HardNegativeMiner::mine`] that writes the rows to a file as they come; memory never holds
    /// them all. The file appears when it is complete.
    ///
    /// # Errors
    /// As [`HardNegativeMiner::mine`], and a file that cannot be written, or a request to stop.
    /// `output` is as before then.
    pub fn mine_to_file(
        &self,
        pairs: &Rows,
        output: &Path,
        stop: &Stop,
    ) -> Result<MinedFile, Error> {
        let (mut target, mut columns) = (None, Vec::new());
        let stopped = || Error::Stopped { path: output.to_owned() };
        let write = |piece: Piece| -> Result<(), Error> {
            match piece {
                Piece::Example(rows) => {
                    // Not before: while nothing is written, a signal handler may end the process.
                    let (guard, mut writer) = (stop.guard(), RowWriter::create(output)?);
                    writer.begin(&rows)?;
                    columns = rows.column_names().into_iter().map(str::to_owned).collect();
                    target = Some((guard, writer));
                }
                Piece::Rows(rows) => {
                    let (guard, writer) = target.as_mut().expect("the example came first");
                    if guard.is_requested() {
                        return Err(stopped());
                    }
                    writer.write(&rows)?;
                }
            }
            Ok(())
        };
        let (summary, lines) = self.mine_pieces(pairs, write)?;
        let (guard, writer) = target.expect("the example came first");
        if guard.is_requested() {
            return Err(stopped());
        }
        writer.finish()?;
        Ok(MinedFile { summary, lines, columns })
    }
}
