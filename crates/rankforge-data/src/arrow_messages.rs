//! A look at the messages of an Arrow file before any is read. The library allocates what lengths
//! in the file say, so those are compared with the size of the file first.

use arrow_ipc::{Message, RecordBatch, root_as_message};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

/// The first bytes of a file with an index of its batches, and the number of bytes before its
/// first message. From there it is a stream, with the index behind its end.
const MAGIC: (&[u8], u64) = (b"ARROW1", 8);

/// What stands before the length of a message, but in files of Arrow before 0.15.
const CONTINUATION: u32 = u32::MAX;

/// The greatest number of rows of a batch, and of bytes that one of its buffers decompresses to.
const LARGEST: u64 = 1 << 31;

/// Where the first message begins.
///
/// # Errors
/// The message of an error: a file that cannot be read, a message that is not one or that is longer
/// than the file, or a batch that is too large.
pub(crate) fn first_message(file: &File) -> Result<u64, String> {
    let io = |error: io::Error| error.to_string();
    let size = file.metadata().map_err(io)?.len();
    let mut input = BufReader::new(file);
    let mut magic = Vec::new();
    input.by_ref().take(MAGIC.0.len() as u64).read_to_end(&mut magic).map_err(io)?;
    let first = if magic == MAGIC.0 { MAGIC.1 } else { 0 };
    let (mut place, mut messages) = (first, 0);
    while place < size {
        input.seek(SeekFrom::Start(place)).map_err(io)?;
        let Some(length) = length(&mut input, &mut place).map_err(io)? else { break };
        let too_long = |end: Option<u64>| match end.filter(|end| *end <= size) {
            Some(end) => Ok(end),
            None => Err(format!("message {} ends behind the end of the file", messages + 1)),
        };
        let body = too_long(place.checked_add(length))?;
        let mut bytes = vec![0; length as usize];
        input.read_exact(&mut bytes).map_err(io)?;
        let message = root_as_message(&bytes)
            .map_err(|error| format!("message {} is not one of Arrow: {error}", messages + 1))?;
        place =
            too_long(u64::try_from(message.bodyLength()).ok().and_then(|it| body.checked_add(it)))?;
        check_batch(&message, body..place, &mut input)?;
        messages += 1;
    }
    match messages {
        0 => Err("it has no message".to_owned()),
        _ => Ok(first),
    }
}

/// The length of the message at `place`, which moves behind it; `None` at the end of the stream.
fn length(input: &mut impl Read, place: &mut u64) -> io::Result<Option<u64>> {
    let mut next = || {
        let mut bytes = [0; 4];
        *place += bytes.len() as u64;
        input.read_exact(&mut bytes).map(|()| u32::from_le_bytes(bytes))
    };
    let length = match next()? {
        CONTINUATION => next()?,
        length => length,
    };
    Ok((length > 0).then_some(u64::from(length)))
}

/// Checks the number of rows of a batch, and what its buffers in `body` decompress to.
fn check_batch(
    message: &Message<'_>,
    body: std::ops::Range<u64>,
    input: &mut (impl Read + Seek),
) -> Result<(), String> {
    let dictionary = message.header_as_dictionary_batch().and_then(|it| it.data());
    let Some(batch): Option<RecordBatch<'_>> = message.header_as_record_batch().or(dictionary)
    else {
        return Ok(());
    };
    if !u64::try_from(batch.length()).is_ok_and(|rows| rows <= LARGEST) {
        return Err(format!("a batch has {} rows, more than {LARGEST}", batch.length()));
    }
    let (Some(_), Some(buffers)) = (batch.compression(), batch.buffers()) else { return Ok(()) };
    for buffer in buffers.iter().filter(|buffer| buffer.length() > 0) {
        let start = u64::try_from(buffer.offset()).ok().and_then(|it| body.start.checked_add(it));
        let start = start.filter(|start| start.saturating_add(8) <= body.end);
        let start = start.ok_or("a buffer begins behind the end of its batch")?;
        let mut bytes = [0; 8];
        input.seek(SeekFrom::Start(start)).map_err(|error| error.to_string())?;
        input.read_exact(&mut bytes).map_err(|error| error.to_string())?;
        // -1: not compressed.
        let length = i64::from_le_bytes(bytes);
        if length != -1 && !u64::try_from(length).is_ok_and(|length| length <= LARGEST) {
            return Err(format!("a buffer decompresses to {length} bytes, more than {LARGEST}"));
        }
    }
    Ok(())
}
