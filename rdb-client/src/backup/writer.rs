use bytes::{BufMut as _, BytesMut};
use futures::StreamExt as _;
use rdb_engine_api::{Entry, EntryStream, Error, ErrorKind, Result, Version, View};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::task::yield_now;

use super::frame::{Head, Kind, MAX_BODY_BYTES, preamble};
use super::record::{self, OVERHEAD};
use super::{Meta, Progress, Summary, failed};

/// The bytes at which a block is written, unless one record alone has more.
const BLOCK_BYTES: usize = 256 << 10;

/// Writes a view of everything, such as a forward scan of all keys returns, and says how far it is after
/// each block. Making the file safe is the caller's: a backup that is not whole does not verify. It gives way
/// after each block, so that it can be ended in the middle.
///
/// # Errors
/// Those of the view; [`Exhausted`](ErrorKind::Exhausted) for a full disk and
/// [`Unavailable`](ErrorKind::Unavailable) for any other error of the sink;
/// [`InvalidArgument`](ErrorKind::InvalidArgument) for a view of keys without records, in another order
/// than ascending, or with a record newer than itself: it could not be restored.
pub async fn write(
    view: View<EntryStream>,
    meta: &Meta,
    sink: &mut (impl AsyncWrite + Unpin + ?Sized),
    mut progress: impl FnMut(Progress),
) -> Result<Summary> {
    let View { version, mut data } = view;
    let mut file = Frames { sink, hash: Sha256::new(), frames: 0, bytes: 0 };
    file.put(&preamble()).await?;
    file.frame(Kind::Meta, &meta.encode(version)?).await?;
    let (mut records, mut record_bytes) = (0, 0);
    let mut block = BytesMut::new();
    let mut last: Option<Entry> = None;
    while let Some(entries) = data.next().await {
        for entry in entries? {
            check(&entry, last.as_ref(), version)?;
            let bytes = entry.key.len() + entry.record.as_ref().map_or(0, |record| record.value.len());
            if !block.is_empty() && block.len() + bytes + OVERHEAD > BLOCK_BYTES {
                file.frame(Kind::Records, &block).await?;
                block.clear();
                progress(Progress { records, file_bytes: file.bytes });
                // A node that sends faster than the sink takes would let nobody else on this task be heard.
                yield_now().await;
            }
            record::put(&mut block, &entry)?;
            records += 1;
            record_bytes += bytes as u64;
            last = Some(entry);
        }
    }
    if !block.is_empty() {
        file.frame(Kind::Records, &block).await?;
    }
    let sha256 = file.end(records, record_bytes).await?;
    progress(Progress { records, file_bytes: file.bytes });
    Ok(Summary { version, records, record_bytes, file_bytes: file.bytes, sha256 })
}

fn check(entry: &Entry, last: Option<&Entry>, view: Version) -> Result<()> {
    let invalid = |message: &str| Error::new(ErrorKind::InvalidArgument, message).with("key", &entry.key);
    if last.is_some_and(|last| last.key >= entry.key) {
        return Err(invalid("records to back up are not in strictly ascending order"));
    }
    if entry.record.as_ref().is_some_and(|record| record.version > view) {
        return Err(invalid("record to back up is newer than its view"));
    }
    Ok(())
}

struct Frames<'a, W: ?Sized> {
    sink: &'a mut W,
    /// Of all that was put.
    hash: Sha256,
    frames: u64,
    bytes: u64,
}

impl<W: AsyncWrite + Unpin + ?Sized> Frames<'_, W> {
    async fn frame(&mut self, kind: Kind, body: &[u8]) -> Result<()> {
        self.head(kind, body.len()).await?;
        self.put(body).await?;
        self.put(&crc32fast::hash(body).to_be_bytes()).await
    }

    async fn head(&mut self, kind: Kind, length: usize) -> Result<()> {
        let length = u32::try_from(length).ok().filter(|length| *length as usize <= MAX_BODY_BYTES);
        let length = length
            .ok_or_else(|| Error::new(ErrorKind::InvalidArgument, "record is too long for a backup"))?;
        self.put(&Head { kind, number: self.frames, length }.encode()).await?;
        self.frames += 1;
        Ok(())
    }

    /// The last frame, in which the hash stands that covers all before itself.
    async fn end(&mut self, records: u64, record_bytes: u64) -> Result<[u8; 32]> {
        let mut body = BytesMut::new();
        body.put_u64(records);
        body.put_u64(record_bytes);
        self.head(Kind::End, body.len() + 32).await?;
        self.put(&body).await?;
        let sha256: [u8; 32] = self.hash.clone().finalize().into();
        body.put_slice(&sha256);
        self.put(&sha256).await?;
        self.put(&crc32fast::hash(&body).to_be_bytes()).await?;
        self.sink.flush().await.map_err(|error| failed("cannot write backup", error))?;
        Ok(sha256)
    }

    async fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        self.sink.write_all(bytes).await.map_err(|error| failed("cannot write backup", error))
    }
}
