use std::fmt;
use std::io::SeekFrom;

use bytes::{Buf as _, Bytes};
use futures::stream;
use rdb_engine_api::{Entry, EntryStream, Error, ErrorKind, Key, Result, Version, View};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncSeek, AsyncSeekExt as _, BufReader};

use super::frame::{FORMAT, Head, Kind, MAGIC, PREAMBLE_BYTES, SUM_BYTES, unseal};
use super::{Meta, Progress, Summary, damaged, failed, record};

/// What the end frame holds: counts and the hash.
const END_BYTES: usize = 8 + 8 + 32;

/// A backup that was read from its first byte to its last, and found to be whole.
pub struct Backup<R> {
    file: R,
    meta: Meta,
    summary: Summary,
}

impl<R: AsyncRead + AsyncSeek + Unpin + Send + 'static> Backup<R> {
    /// Reads all of a file, from its beginning, and says how far it is after each block. Memory is bound by
    /// the longest block.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) where anything is damaged, missing or too much;
    /// [`Unsupported`](ErrorKind::Unsupported) for what is no backup, or one of another format;
    /// [`Unavailable`](ErrorKind::Unavailable) where the file cannot be read.
    pub async fn verify(mut file: R, mut progress: impl FnMut(Progress)) -> Result<Self> {
        rewind(&mut file).await?;
        let mut frames = Frames::begin(&mut file).await?;
        let summary = loop {
            match frames.next().await? {
                Next::Records(_) => {
                    progress(Progress { records: frames.records, file_bytes: frames.bytes });
                }
                Next::End(summary) => break summary,
            }
        };
        progress(Progress { records: summary.records, file_bytes: summary.file_bytes });
        let meta = frames.meta;
        Ok(Self { file, meta, summary })
    }

    /// Where and when it was made.
    pub const fn meta(&self) -> &Meta {
        &self.meta
    }

    /// What it holds.
    pub const fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The view, as a scan returned it. The file is read, and checked, once more: what has changed since
    /// [`verify`](Self::verify) ends the stream in an error.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub async fn into_view(mut self) -> Result<View<EntryStream>> {
        rewind(&mut self.file).await?;
        let version = self.summary.version;
        let frames = Frames::begin(self.file).await?;
        let entries = stream::unfold(Some((frames, self.summary)), |open| async {
            let (mut frames, verified) = open?;
            match frames.next().await {
                Ok(Next::Records(entries)) => Some((Ok(entries), Some((frames, verified)))),
                Ok(Next::End(summary)) if summary == verified => None,
                Ok(Next::End(_)) => Some((Err(damaged("backup has changed since it was verified")), None)),
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(View { version, data: Box::pin(entries) })
    }
}

impl<R> fmt::Debug for Backup<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Backup");
        debug.field("meta", &self.meta).field("summary", &self.summary).finish_non_exhaustive()
    }
}

async fn rewind(file: &mut (impl AsyncSeek + Unpin)) -> Result<()> {
    let rewound = file.seek(SeekFrom::Start(0)).await;
    rewound.map(drop).map_err(|error| failed("cannot read backup from its beginning", error))
}

/// A file on its way through all checks but that of its name.
struct Frames<R> {
    file: BufReader<R>,
    /// Of all that was read.
    hash: Sha256,
    meta: Meta,
    version: Version,
    frames: u64,
    bytes: u64,
    records: u64,
    record_bytes: u64,
    last: Option<Key>,
}

enum Next {
    Records(Vec<Entry>),
    End(Summary),
}

impl<R: AsyncRead + Unpin> Frames<R> {
    async fn begin(file: R) -> Result<Self> {
        let mut frames = Self {
            file: BufReader::with_capacity(256 << 10, file),
            hash: Sha256::new(),
            meta: Meta::new("", std::time::UNIX_EPOCH),
            version: Version::MIN,
            frames: 0,
            bytes: 0,
            records: 0,
            record_bytes: 0,
            last: None,
        };
        let preamble: [u8; PREAMBLE_BYTES] = frames.array().await?;
        let no_backup = || Error::new(ErrorKind::Unsupported, "file is no FlareDB backup");
        let mut rest = match unseal(&preamble) {
            Ok(rest) => rest,
            // A single damaged byte does not make it another kind of file.
            Err(_) if preamble.iter().zip(MAGIC).filter(|(is, was)| **is == *was).count() < 7 => {
                return Err(no_backup());
            }
            Err(error) => return Err(error),
        };
        if !rest.starts_with(&MAGIC) {
            return Err(no_backup());
        }
        rest.advance(MAGIC.len());
        let format = rest.get_u32();
        if format != FORMAT {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "backup is of a format that this version cannot read",
            )
            .with("format", format)
            .with("known", FORMAT));
        }
        let (head, body) = frames.frame().await?;
        if head.kind != Kind::Meta {
            return Err(damaged("backup has no description"));
        }
        (frames.meta, frames.version) = Meta::decode(&body)?;
        Ok(frames)
    }

    async fn next(&mut self) -> Result<Next> {
        let (head, body) = self.frame().await?;
        match head.kind {
            Kind::Records => self.records(body).map(Next::Records),
            Kind::End => self.end(&body).await.map(Next::End),
            Kind::Meta => Err(damaged("backup has two descriptions")),
        }
    }

    fn records(&mut self, mut block: Bytes) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        while !block.is_empty() {
            let entry = record::take(&mut block)?;
            let value_bytes = entry.record.as_ref().map_or(0, |record| record.value.len());
            let ascends = self.last.as_ref().is_none_or(|last| *last < entry.key);
            let is_of_view = entry.record.as_ref().is_some_and(|record| record.version <= self.version);
            if !ascends || !is_of_view {
                return Err(damaged("backup's records are not those of a view").with("key", &entry.key));
            }
            self.records += 1;
            self.record_bytes += (entry.key.len() + value_bytes) as u64;
            self.last = Some(entry.key.clone());
            entries.push(entry);
        }
        match entries.is_empty() {
            true => Err(damaged("backup has an empty block")),
            false => Ok(entries),
        }
    }

    async fn end(&mut self, body: &[u8]) -> Result<Summary> {
        let mut counts = body;
        let (records, record_bytes) = (counts.get_u64(), counts.get_u64());
        if (records, record_bytes) != (self.records, self.record_bytes) {
            return Err(damaged("backup has lost records")
                .with("written", records)
                .with("found", self.records));
        }
        let trailing = self.file.read(&mut [0]).await.map_err(cannot_read)?;
        if trailing > 0 {
            return Err(damaged("backup goes on behind its end"));
        }
        Ok(Summary {
            version: self.version,
            records,
            record_bytes,
            file_bytes: self.bytes,
            sha256: counts.try_into().map_err(|_| damaged("backup's end cannot be read"))?,
        })
    }

    /// The next frame; of the last one, the hash is checked on the way.
    async fn frame(&mut self) -> Result<(Head, Bytes)> {
        let head = Head::decode(&self.array().await?)?;
        if head.number != self.frames {
            return Err(damaged("backup has lost blocks")
                .with("expected", self.frames)
                .with("found", head.number));
        }
        self.frames += 1;
        let length = head.length as usize;
        let body = match head.kind {
            Kind::End if length != END_BYTES => return Err(damaged("backup's end cannot be read")),
            Kind::End => {
                let counts = self.body(length - 32).await?;
                let sha256: [u8; 32] = self.hash.clone().finalize().into();
                let stored = self.body(32).await?;
                if stored[..] != sha256 {
                    return Err(damaged("backup does not match its SHA-256"));
                }
                [counts, stored].concat()
            }
            Kind::Meta | Kind::Records => self.body(length).await?,
        };
        let sum: [u8; SUM_BYTES] = self.array().await?;
        match crc32fast::hash(&body).to_be_bytes() == sum {
            true => Ok((head, body.into())),
            false => Err(damaged("backup does not match its checksum")),
        }
    }

    /// Grows with what is there, whatever length was written.
    async fn body(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        let part = &mut (&mut self.file).take(length as u64);
        part.read_to_end(&mut body).await.map_err(cannot_read)?;
        if body.len() < length {
            return Err(cut_short());
        }
        self.has_read(&body);
        Ok(body)
    }

    async fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        self.file.read_exact(&mut array).await.map_err(cannot_read)?;
        self.has_read(&array);
        Ok(array)
    }

    fn has_read(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}

fn cannot_read(error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => cut_short(),
        _ => failed("cannot read backup", error),
    }
}

fn cut_short() -> Error {
    damaged("backup is cut short")
}
