//! Reads the output of tasks directly from the executor's archive.

use super::Background;
use crate::background::Chunk;
use crate::background::executor::reading::Reading;
use crate::background::task::TaskId;
use crate::error::Error;
use crate::limits;

/// Bytes of output that are read before other tokio tasks get a turn.
const READ_STEP: u64 = 256 << 10;

impl Background {
    /// The last `bytes` of a task's output, or what is retained of them.
    pub async fn tail(&self, id: TaskId, bytes: u64) -> Result<Chunk, Error> {
        let task = self.find(id).await?;
        self.fetch(&task).await;
        let total = self.archive.read(id).map_or(0, |reading| reading.total());
        self.read_kept(id, total.saturating_sub(bytes), bytes).await
    }

    /// Output from `offset` on, at most `limit` bytes.
    pub async fn read(&self, id: TaskId, offset: u64, limit: u64) -> Result<Chunk, Error> {
        let task = self.find(id).await?;
        if self.archive.read(id).is_ok_and(|it| it.next_kept(offset).is_none()) {
            self.fetch(&task).await;
        }
        self.read_kept(id, offset, limit.min(limits::READ_BYTES_MAX)).await
    }

    async fn read_kept(&self, id: TaskId, offset: u64, limit: u64) -> Result<Chunk, Error> {
        let mut chunk = Chunk { offset, next_offset: offset, ..Chunk::default() };
        let Ok(mut reading) = self.archive.read(id) else {
            // The task was removed meanwhile.
            return Err(Error::UnknownTask(id));
        };
        while (chunk.data.len() as u64) < limit {
            let fail = |error| self.archive.error(id, &error);
            let total = reading.total();
            let Some(kept) = reading.next_kept(chunk.next_offset) else {
                end_chunk(&mut chunk, offset, &reading);
                break;
            };
            if kept.start > chunk.next_offset {
                if !chunk.data.is_empty() {
                    break;
                }
                chunk.gap = Some((offset, kept.start));
                chunk.offset = kept.start;
                chunk.next_offset = kept.start;
            }
            let left = (limit - chunk.data.len() as u64).min(READ_STEP);
            let range = kept.start..kept.end.min(kept.start + left);
            let Some(bytes) = reading.read(range.clone()).map_err(fail)? else {
                // The log's ring overwrote the range during the read. Continue with what it retains now.
                continue;
            };
            chunk.data.extend_from_slice(&bytes);
            chunk.next_offset = range.end;
            if range.end == total {
                end_chunk(&mut chunk, offset, &reading);
                break;
            }
            tokio::task::yield_now().await;
        }
        Ok(chunk)
    }
}

fn end_chunk(chunk: &mut Chunk, offset: u64, reading: &Reading) {
    let total = reading.total();
    if chunk.data.is_empty() && offset < total {
        // A full disk cut the end of the output.
        chunk.gap = Some((offset, total));
        chunk.offset = total;
        chunk.next_offset = total;
    }
    chunk.eof = reading.has_ended() && chunk.next_offset >= total;
}
