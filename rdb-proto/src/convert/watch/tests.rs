use bytes::Bytes;
use prost::Message as _;
use rdb_engine_api::Limits;

use super::*;
use crate::max_message_bytes;

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

fn record(bytes: usize, number: u64) -> Record {
    Record::new(vec![7; bytes].into(), version(number))
}

/// A put of so many bytes under a key of its own, which ascends with its place.
fn put(place: usize, bytes: usize) -> CommittedOp {
    let key = Key::new(format!("{place:08}")).unwrap();
    CommittedOp::new(key, Some(record(bytes, 9)), Previous::NotAsked)
}

fn commit(number: u64, sizes: &[usize]) -> CommittedBatch {
    let ops = sizes.iter().enumerate().map(|(place, bytes)| put(place, *bytes)).collect();
    CommittedBatch::new(version(number), Cause::Write, ops)
}

fn part(number: u64, places: std::ops::Range<usize>, goes_on: bool) -> CommitPart {
    let ops = places.map(|place| put(place, 1)).collect();
    CommitPart { commit: CommittedBatch::new(version(number), Cause::Write, ops), goes_on }
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_batch_bytes = 1_000;
    limits.max_batch_len = 10;
    limits
}

fn assembly() -> WatchAssembly {
    WatchAssembly::new(version(5), &limits())
}

/// Through the wire and back.
fn sent(part: WatchPart) -> Result<WatchPart, Error> {
    let bytes = v1::WatchResponse::from(part).encode_to_vec();
    v1::WatchResponse::decode(Bytes::from(bytes)).unwrap().try_into()
}

#[test]
fn every_watch_survives_the_wire() {
    let bytes = || Bytes::from_static(b"b");
    for range in [
        KeyRange::all(),
        KeyRange::prefix(vec![0xff, 0xff]),
        KeyRange::new(std::ops::Bound::Excluded(bytes()), std::ops::Bound::Included(bytes())),
    ] {
        let watch = Watch::new(range);
        let every = Duration::from_millis(7);
        for watch in [watch.clone(), watch.clone().previous().after(version(9)), watch.progress(every)] {
            assert_eq!(Watch::try_from(v1::WatchRequest::from(watch.clone())).unwrap(), watch);
        }
    }
}

#[test]
fn a_watch_of_a_prefix_needs_no_more_than_the_prefix() {
    let range = Some(Range::Prefix(Bytes::from_static(b"user/")));
    let request = v1::WatchRequest { range, ..Default::default() };
    assert_eq!(Watch::try_from(request).unwrap(), Watch::new(KeyRange::prefix("user/")));
}

#[test]
fn a_watch_without_a_known_range_or_after_version_0_is_refused() {
    let half = v1::Bounds { start: Some(v1::Bound { bound: None }), end: None };
    for request in [
        v1::WatchRequest::default(),
        v1::WatchRequest { range: Some(Range::Bounds(half)), ..Default::default() },
        v1::WatchRequest { range: Some(Range::Prefix(Bytes::new())), after: Some(0), ..Default::default() },
    ] {
        assert_eq!(Watch::try_from(request).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
}

#[test]
fn the_parts_of_a_watch_survive_the_wire() {
    let mut expiring = record(3, 4);
    expiring.expires_at = Some(std::time::UNIX_EPOCH + Duration::from_millis(1_234));
    let previous = [
        Previous::NotAsked,
        Previous::Absent,
        Previous::Omitted,
        Previous::Record(record(0, 1)),
        Previous::Record(expiring.clone()),
    ];
    let ops = previous.into_iter().zip([None, Some(record(0, 7)), Some(expiring)].into_iter().cycle());
    let ops = ops.enumerate().map(|(place, (previous, record))| {
        CommittedOp::new(Key::new(format!("{place}")).unwrap(), record, previous)
    });
    let whole = CommittedBatch::new(version(7), Cause::Write, ops.collect());
    let expiry = CommittedBatch::new(version(8), Cause::Expiry, whole.ops.clone());
    for part in [
        WatchPart::Start(version(u64::MAX)),
        WatchPart::Commits(vec![
            CommitPart { commit: whole, goes_on: false },
            CommitPart { commit: expiry, goes_on: true },
        ]),
        WatchPart::Progress(Version::MIN),
    ] {
        assert_eq!(sent(part.clone()).unwrap(), part);
    }
}

#[test]
fn a_part_that_makes_no_sense_is_malformed() {
    let answer = |part| v1::WatchResponse { part: Some(part) };
    let with = |change: fn(&mut wire::Commit)| {
        let mut commit = wire::Commit::from(part(7, 0..1, false));
        change(&mut commit);
        answer(wire::Part::Commits(wire::Commits { commits: vec![commit] }))
    };
    let commits = [part(7, 0..1, true), part(7, 1..2, false)].map(Into::into).into();
    for response in [
        v1::WatchResponse::default(),
        answer(wire::Part::Start(wire::Start { version: 0 })),
        answer(wire::Part::Progress(wire::Progress { version: 0 })),
        answer(wire::Part::Commits(wire::Commits { commits: Vec::new() })),
        answer(wire::Part::Commits(wire::Commits { commits })), // goes on in the same message
        with(|commit| commit.version = 0),
        with(|commit| commit.cause = 0),
        with(|commit| commit.cause = 3),
        with(|commit| commit.ops.clear()),
        with(|commit| commit.ops[0].key = Bytes::new()),
        with(|commit| commit.ops[0].record = Some(v1::Record::default())),
        with(|commit| commit.ops[0].previous = Some(wire::Previous { previous: None })),
    ] {
        assert_eq!(WatchPart::try_from(response).unwrap_err().kind(), ErrorKind::Internal);
    }
}

#[test]
fn small_commits_share_a_message_and_a_large_one_is_cut() {
    let most = SCAN_CHUNK_BYTES;
    let events = [
        WatchEvent::Commit(commit(10, &[1, 2])),
        WatchEvent::Commit(commit(11, &[3])),
        WatchEvent::Progress(version(12)),
        WatchEvent::Commit(commit(13, &[most / 2])),
        WatchEvent::Commit(commit(14, &[most / 2, 0])), // fits into one message, but not into that one
        WatchEvent::Commit(commit(15, &[most / 2, most / 3, most * 3, most, 1])),
        WatchEvent::Commit(commit(16, &[4])),
    ];
    let shape: Vec<Vec<(u64, usize, bool)>> = pack_events(events)
        .iter()
        .map(|part| match part {
            WatchPart::Start(_) => unreachable!(),
            WatchPart::Progress(version) => vec![(version.get(), 0, false)],
            WatchPart::Commits(commits) => commits
                .iter()
                .map(|part| (part.commit.version.get(), part.commit.ops.len(), part.goes_on))
                .collect(),
        })
        .collect();
    let expected = [
        vec![(10, 2, false), (11, 1, false)],
        vec![(12, 0, false)],
        vec![(13, 1, false)],
        vec![(14, 2, false)],
        vec![(15, 2, true)],
        vec![(15, 1, true)],
        vec![(15, 1, true)],
        vec![(15, 1, false), (16, 1, false)],
    ];
    assert_eq!(shape, expected);
}

#[test]
fn nothing_makes_no_message() {
    assert_eq!(pack_events([]), []);
}

#[test]
fn what_was_cut_is_joined_again() {
    let most = SCAN_CHUNK_BYTES;
    let events = vec![
        WatchEvent::Commit(commit(6, &[1])),
        WatchEvent::Commit(commit(7, &[most, most, 5, most * 2, most / 2, 9])),
        WatchEvent::Commit(commit(8, &[most])),
        WatchEvent::Progress(version(8)),
        WatchEvent::Progress(version(8)),
        WatchEvent::Commit(commit(9, &[0])),
    ];
    let parts = pack_events(events.clone());
    assert!(parts.len() > events.len());
    let mut assembly = WatchAssembly::new(version(5), &Limits::default());
    let mut joined = Vec::new();
    for part in parts {
        joined.extend(assembly.take(sent(part).unwrap()).unwrap());
        let last = joined.last().map_or(version(5), WatchEvent::version);
        assert_eq!(assembly.version(), last);
    }
    assert_eq!(joined, events);
}

#[test]
fn a_watch_that_makes_no_sense_is_malformed_and_delivers_nothing() {
    let commits = |parts: &[CommitPart]| WatchPart::Commits(parts.to_vec());
    let other_cause = {
        let mut part = part(7, 1..2, false);
        part.commit.cause = Cause::Expiry;
        part
    };
    let cases: [(&str, &[WatchPart]); 9] = [
        ("a second start", &[WatchPart::Start(version(6))]),
        ("a commit not above the start", &[commits(&[part(5, 0..1, false)])]),
        ("commits that do not ascend", &[commits(&[part(7, 0..1, false), part(7, 1..2, false)])]),
        (
            "a commit not above the progress",
            &[WatchPart::Progress(version(7)), commits(&[part(7, 0..1, false)])],
        ),
        ("progress that goes back", &[WatchPart::Progress(version(4))]),
        ("progress in the middle", &[commits(&[part(7, 0..1, true)]), WatchPart::Progress(version(7))]),
        (
            "another version in the middle",
            &[commits(&[part(7, 0..1, true)]), commits(&[part(8, 1..2, false)])],
        ),
        ("another cause in the middle", &[commits(&[part(7, 0..1, true)]), commits(&[other_cause])]),
        ("a key twice", &[commits(&[part(7, 0..2, true)]), commits(&[part(7, 1..3, false)])]),
    ];
    for (case, parts) in cases {
        let mut assembly = assembly();
        let (last, before) = parts.split_last().unwrap();
        for part in before {
            assembly.take(part.clone()).unwrap();
        }
        let safe = assembly.version();
        assert_eq!(assembly.take(last.clone()).unwrap_err().kind(), ErrorKind::Internal, "{case}");
        assert_eq!(assembly.version(), safe, "{case}");
    }
}

#[test]
fn a_commit_larger_than_a_batch_and_what_it_replaced_is_malformed() {
    let limits = limits();
    // The most that a batch can do, with what it replaced: whatever its pieces are, it is taken.
    let fullest: Vec<CommittedOp> = (0..limits.max_batch_len)
        .map(|place| {
            let bytes = limits.max_batch_bytes / limits.max_batch_len; // of key and value
            let mut op = put(place, bytes - 8);
            op.previous = Previous::Record(record(bytes, 8));
            op
        })
        .collect();
    let piece = |op: &CommittedOp, goes_on| {
        let commit = CommittedBatch::new(version(7), Cause::Write, vec![op.clone()]);
        WatchPart::Commits(vec![CommitPart { commit, goes_on }])
    };
    let mut assembly = assembly();
    let (last, before) = fullest.split_last().unwrap();
    for op in before {
        assert_eq!(assembly.take(piece(op, true)).unwrap(), []);
    }
    assert_eq!(assembly.take(piece(last, false)).unwrap().len(), 1);

    // And one that never ends is not kept.
    let mut assembly = WatchAssembly::new(version(5), &limits);
    let mut pieces = (0..1_000).map(|place| assembly.take(piece(&put(place, 100), true)));
    let taken = pieces.by_ref().take_while(Result::is_ok).count();
    assert!((8..20).contains(&taken), "{taken}");
    drop(pieces);
    let error = assembly.take(piece(&put(1_000, 2_000), true)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
}

#[test]
fn a_message_of_a_watch_fits_whatever_it_holds() {
    let longest = Limits::default().max_value_bytes;
    let mut large = put(0, longest);
    large.key = Key::new(vec![b'k'; rdb_engine_api::MAX_KEY_BYTES]).unwrap();
    let mut old = record(longest, u64::MAX);
    old.expires_at = Some(std::time::UNIX_EPOCH + Duration::from_millis(1 << 60));
    large.previous = Previous::Record(old);
    let many = (0..5_000)
        .map(|place| {
            let mut op = put(place, 0);
            op.previous = Previous::Record(record(0, u64::MAX));
            op
        })
        .collect();
    let events = [vec![large], many, vec![put(0, 1)]]
        .map(|ops| WatchEvent::Commit(CommittedBatch::new(version(u64::MAX), Cause::Write, ops)));
    let most = max_message_bytes(&Limits::default());
    for part in pack_events(events) {
        let WatchPart::Commits(commits) = &part else { unreachable!() };
        let bytes: usize = commits.iter().map(|part| commit_bytes(&part.commit.ops)).sum();
        let is_alone = commits.len() == 1 && commits[0].commit.ops.len() == 1;
        assert!(bytes <= SCAN_CHUNK_BYTES || is_alone);
        let encoded = v1::WatchResponse::from(part).encoded_len();
        assert!(encoded <= bytes && encoded <= most, "{encoded} of {bytes}");
    }
}
