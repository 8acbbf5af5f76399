//! `meanwhile logs`: the output of a task, byte for byte.
//!
//! Output is written unchanged, including escape sequences: this is `cat`, not a viewer.

use meanwhile_core::background::task::TaskId;
use meanwhile_core::background::{Background, Chunk};

use super::args;
use super::failure::Failure;
use super::follow::{Follow, Manner, PIECE_BYTES, Piece};
use super::out::{Out, note};
use super::session::Session;
use super::{json, show};

pub(crate) async fn run(session: &mut Session, args: args::Logs) -> Result<u8, Failure> {
    let id = session.enter(&args.id).await?;
    let Session { background, events, out, .. } = session;
    background.settle().await?;
    let start = match args.tail {
        Some(lines) => last_lines(background, id, lines).await?,
        None => 0,
    };
    let manner = Manner { wait: args.follow, text: args.json };
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    let mut follow = Follow::new(background, events, id, start, manner).await?;
    loop {
        tokio::select! {
            piece = follow.next() => match piece? {
                Piece::Output(chunk) => show_chunk(out, id, chunk, args.json)?,
                Piece::Progress(_) => {}
                Piece::End => return Ok(0),
            },
            _ = &mut interrupt => return Ok(show::INTERRUPTED),
        }
    }
}

fn show_chunk(out: &mut Out, id: TaskId, chunk: Chunk, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return json::output(out, id, chunk);
    }
    if let Some((from, to)) = chunk.gap {
        out.flush()?;
        note(format_args!("... {} bytes were not kept ...", show::thousands(to - from)));
    }
    out.raw(&chunk.data)?;
    out.flush()
}

/// The offset of the last `lines` lines of a task's output. Reads backwards in pieces, so that the length of the
/// output does not matter.
async fn last_lines(background: &Background, id: TaskId, lines: usize) -> Result<u64, Failure> {
    let end = background.get(id).await?.output.total;
    let mut position = end;
    let mut wanted = lines;
    while position > 0 {
        let from = position.saturating_sub(PIECE_BYTES);
        let piece = read_exactly(background, id, from, position).await?;
        let last = position == end;
        match start_of_last_lines(&piece.data, last, &mut wanted) {
            Some(start) => return Ok(piece.offset + start as u64),
            // There may be more lines before a gap, but they are not adjacent to these.
            None if piece.offset > from => return Ok(piece.offset),
            None => position = from,
        }
    }
    Ok(0)
}

/// The output between two offsets, or the part of it after the last gap.
async fn read_exactly(
    background: &Background,
    id: TaskId,
    from: u64,
    to: u64,
) -> Result<Chunk, Failure> {
    let mut all = background.read(id, from, to - from).await?;
    while all.next_offset < to {
        let next = background.read(id, all.next_offset, to - all.next_offset).await?;
        if next.data.is_empty() && next.gap.is_none() {
            break;
        }
        if next.gap.is_some() {
            all = next;
        } else {
            all.data.extend_from_slice(&next.data);
            all.next_offset = next.next_offset;
        }
    }
    Ok(all)
}

/// The index of the last `wanted` lines in a piece; `None` if it has fewer, and `wanted` is then reduced. A newline
/// at the very end of the output ends the last line and does not start another.
fn start_of_last_lines(piece: &[u8], last: bool, wanted: &mut usize) -> Option<usize> {
    if *wanted == 0 {
        return Some(piece.len());
    }
    let body = match piece {
        [body @ .., b'\n'] if last => body,
        piece => piece,
    };
    for (place, _) in body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
        *wanted -= 1;
        if *wanted == 0 {
            return Some(place + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_found_from_behind() {
        let check = |piece: &str, last: bool, wanted: usize, expected: Result<&str, usize>| {
            let mut left = wanted;
            let found = start_of_last_lines(piece.as_bytes(), last, &mut left);
            let found = found.map(|start| &piece[start..]).ok_or(left);
            assert_eq!(found, expected, "{piece:?}, {wanted} wanted");
        };
        check("a\nb\nc\n", true, 1, Ok("c\n"));
        check("a\nb\nc\n", true, 2, Ok("b\nc\n"));
        check("a\nb\nc", true, 1, Ok("c"));
        check("a\nb\nc\n", true, 0, Ok(""));
        check("a\nb\nc\n", true, 3, Err(1));
        check("a\n\n\n", true, 2, Ok("\n\n"));
        check("", true, 1, Err(1));
        // In a piece from the middle, the last newline ends a line that started before it.
        check("a\nb\n", false, 1, Ok(""));
        check("a\nb\n", false, 2, Ok("b\n"));
    }
}
