use std::io::Cursor;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use rdb_engine_api::{Entry, EntryStream, Error, ErrorKind, Key, Record, Result, Version, View};
use tokio::io::AsyncWrite;

use super::*;

const VIEW: Version = Version::new(1_000).unwrap();

fn entry(name: &str, value: &'static [u8], version: u64) -> Entry {
    let record = Record::new(Bytes::from_static(value), Version::new(version).unwrap());
    Entry::new(Key::new(name.to_owned()).unwrap(), Some(record))
}

fn view(entries: Vec<Entry>) -> View<EntryStream> {
    let chunks: Vec<Result<_>> = entries.chunks(100).map(|chunk| Ok(chunk.to_vec())).collect();
    View { version: VIEW, data: stream::iter(chunks).boxed() }
}

fn meta() -> Meta {
    let mut meta = Meta::new("mem", UNIX_EPOCH + Duration::from_millis(1_700_000_000_123));
    meta.server_version = "1.2.3".to_owned();
    meta
}

async fn backup(entries: Vec<Entry>) -> Vec<u8> {
    let mut file = Vec::new();
    write(view(entries), &meta(), &mut file, |_| {}).await.unwrap();
    file
}

async fn verify(file: &[u8]) -> Result<Backup<Cursor<Vec<u8>>>> {
    Backup::verify(Cursor::new(file.to_vec()), |_| {}).await
}

async fn read(backup: Backup<Cursor<Vec<u8>>>) -> Result<Vec<Entry>> {
    backup.into_view().await?.data.try_concat().await
}

/// Some blocks of records, one of them longer than a block.
fn many() -> Vec<Entry> {
    static LONG: [u8; 400_000] = [7; 400_000];
    (0..6_000)
        .map(|number| {
            let value: &'static [u8] = if number == 3_000 { &LONG } else { &LONG[..number % 200] };
            entry(&format!("k{number:05}"), value, 1 + number as u64 % 1_000)
        })
        .collect()
}

#[tokio::test]
async fn writing_gives_way_even_where_all_is_there() {
    let (entries, meta, mut file) = (many(), meta(), Vec::new());
    let all = entries.len() as u64;
    let blocks = std::cell::Cell::new(0);
    let mut written = std::pin::pin!(write(view(entries), &meta, &mut file, |step| {
        assert!(step.records < all, "it has gone on to the end");
        blocks.set(blocks.get() + 1);
    }));
    assert!(futures::poll!(&mut written).is_pending());
    assert!(futures::poll!(&mut written).is_pending());
    assert_eq!(blocks.get(), 2);
}

#[tokio::test]
async fn what_was_backed_up_is_read_back() {
    let mut expiring = entry("z", b"", 1_000);
    expiring.record.as_mut().unwrap().expires_at = Some(UNIX_EPOCH + Duration::from_millis(5));
    let mut entries = many();
    entries.push(expiring);
    for entries in [Vec::new(), entries] {
        let mut steps = Vec::new();
        let mut file = Vec::new();
        let written =
            write(view(entries.clone()), &meta(), &mut file, |step| steps.push(step)).await.unwrap();
        assert_eq!((written.records, written.file_bytes), (entries.len() as u64, file.len() as u64));
        let last = steps.last().unwrap();
        assert_eq!((last.records, last.file_bytes), (written.records, written.file_bytes));
        let backup = verify(&file).await.unwrap();
        assert_eq!((backup.meta(), backup.summary()), (&meta(), &written));
        assert_eq!(backup.into_view().await.unwrap().version, VIEW);
        assert_eq!(read(verify(&file).await.unwrap()).await.unwrap(), entries);
    }
}

#[tokio::test]
async fn every_flipped_bit_and_every_cut_of_a_small_backup_is_refused() {
    let file = backup(vec![entry("a", b"value", 1), entry("b", b"", 1_000)]).await;
    for bit in 0..file.len() * 8 {
        let mut bad = file.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(verify(&bad).await.unwrap_err().kind(), ErrorKind::Corrupt, "bit {bit}");
    }
    for length in 0..file.len() {
        assert_eq!(verify(&file[..length]).await.unwrap_err().kind(), ErrorKind::Corrupt, "length {length}");
    }
    for more in [&b"\0"[..], &file] {
        let longer = [&file[..], more].concat();
        assert_eq!(verify(&longer).await.unwrap_err().kind(), ErrorKind::Corrupt, "goes on");
    }
}

#[tokio::test]
async fn a_hundred_random_cuts_and_flipped_bits_of_a_backup_are_refused() {
    let file = backup(many()).await;
    for _ in 0..100 {
        let length = rand::random_range(0..file.len());
        assert_eq!(verify(&file[..length]).await.unwrap_err().kind(), ErrorKind::Corrupt, "length {length}");
        let bit = rand::random_range(0..file.len() * 8);
        let mut bad = file.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(verify(&bad).await.unwrap_err().kind(), ErrorKind::Corrupt, "bit {bit}");
    }
}

/// The frames' own checksums are right: it takes the hash over everything, the numbers or the counts.
#[tokio::test]
async fn blocks_that_are_missing_or_changed_places_are_refused() {
    let file = backup(many()).await;
    let mut bounds = vec![frame::PREAMBLE_BYTES];
    while let Some(rest) = file.get(*bounds.last().unwrap()..).filter(|rest| !rest.is_empty()) {
        let head = frame::Head::decode(rest.first_chunk().unwrap()).unwrap();
        let length = frame::HEAD_BYTES + head.length as usize + frame::SUM_BYTES;
        bounds.push(bounds.last().unwrap() + length);
    }
    let frames: Vec<&[u8]> = bounds.windows(2).map(|bounds| &file[bounds[0]..bounds[1]]).collect();
    assert!(frames.len() > 5, "{} frames", frames.len());
    let of = |frames: &[&[u8]]| [&file[..frame::PREAMBLE_BYTES], &frames.concat()].concat();
    assert!(verify(&of(&frames)).await.is_ok());
    for place in 0..frames.len() - 1 {
        let mut without = frames.clone();
        without.remove(place);
        let mut exchanged = frames.clone();
        exchanged.swap(place, place + 1);
        for bad in [without, exchanged] {
            assert_eq!(verify(&of(&bad)).await.unwrap_err().kind(), ErrorKind::Corrupt, "frame {place}");
        }
    }
    // Of another backup, with the same number: only the hash tells.
    let mut other = many();
    other[10] = entry("k00010", b"another value", 1);
    let other = backup(other).await;
    let length = frames[1].len();
    let foreign = &other[bounds[1]..];
    let foreign_length = frame::HEAD_BYTES
        + frame::Head::decode(foreign.first_chunk().unwrap()).unwrap().length as usize
        + frame::SUM_BYTES;
    let mixed = [&file[..bounds[1]], &foreign[..foreign_length], &file[bounds[1] + length..]].concat();
    assert_eq!(verify(&mixed).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

/// The head vouches for the length, which then still is no reason to take the memory at once.
#[tokio::test]
async fn a_length_beyond_the_file_takes_no_memory_for_it() {
    let file = backup(Vec::new()).await;
    let head = frame::Head { kind: frame::Kind::Meta, number: 0, length: frame::MAX_BODY_BYTES as u32 };
    let mut bad = file.clone();
    bad[frame::PREAMBLE_BYTES..][..frame::HEAD_BYTES].copy_from_slice(&head.encode());
    let error = verify(&bad).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Corrupt, "backup is cut short"));
    let longer = frame::Head { length: frame::MAX_BODY_BYTES as u32 + 1, ..head };
    let error = frame::Head::decode(&longer.encode()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn what_is_no_backup_or_of_another_format_is_said_to_be() {
    let text = b"{\"key\": \"azE=\", \"value\": \"dg==\"}\n".to_vec();
    assert_eq!(verify(&text).await.unwrap_err().kind(), ErrorKind::Unsupported);
    let mut newer = frame::preamble();
    newer[11] = 2;
    let sum = crc32fast::hash(&newer[..12]).to_be_bytes();
    newer[12..].copy_from_slice(&sum);
    assert_eq!(verify(&newer).await.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn a_view_that_breaks_off_or_cannot_be_restored_is_not_backed_up() {
    let broken = || Err(Error::new(ErrorKind::Exhausted, "the reader rested"));
    for (chunk, kind) in [
        (broken(), ErrorKind::Exhausted),
        (Ok(vec![entry("b", b"", 1), entry("a", b"", 1)]), ErrorKind::InvalidArgument),
        (Ok(vec![entry("a", b"", 1_001)]), ErrorKind::InvalidArgument),
        (Ok(vec![Entry::new(Key::new("a").unwrap(), None)]), ErrorKind::InvalidArgument),
    ] {
        let view = View { version: VIEW, data: stream::iter([chunk]).boxed() };
        let mut file = Vec::new();
        let error = write(view, &meta(), &mut file, |_| {}).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{}", error.report());
        assert_eq!(verify(&file).await.unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[tokio::test]
async fn a_full_disk_is_exhausted() {
    let error = write(view(many()), &meta(), &mut Full(1_000), |_| {}).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{}", error.report());
}

/// A sink with so much room.
struct Full(usize);

impl AsyncWrite for Full {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        Poll::Ready(if taken > 0 { Ok(taken) } else { Err(io::ErrorKind::StorageFull.into()) })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}

#[tokio::test]
async fn a_file_that_changes_between_its_verification_and_its_reading_ends_in_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("backup");
    std::fs::write(&path, backup(many()).await).unwrap();
    let file = tokio::fs::File::open(&path).await.unwrap();
    let verified = Backup::verify(file, |_| {}).await.unwrap();
    std::fs::write(&path, backup(many().into_iter().skip(1).collect()).await).unwrap();
    let error = verified.into_view().await.unwrap().data.try_concat().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{}", error.report());
}
