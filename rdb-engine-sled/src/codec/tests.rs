use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rdb_engine_api::{ErrorKind, MAX_KEY_BYTES};

use super::*;

/// Keys that are often equal, often prefixes of each other, and full of the bytes that are escaped.
fn key(random: &mut StdRng) -> Vec<u8> {
    let length = if random.random_bool(0.05) { MAX_KEY_BYTES } else { random.random_range(1..6) };
    let fill = [0x00, 0x01, 0x02, 0x7f, 0xfd, 0xfe, 0xff][random.random_range(0..7)];
    let mut key = vec![fill; length];
    for _ in 0..random.random_range(0..3) {
        let place = random.random_range(0..length);
        key[place] = random.random();
    }
    key
}

#[test]
fn rows_sort_by_key_and_then_newest_first() {
    let mut random = StdRng::seed_from_u64(1);
    for _ in 0..20_000 {
        let (a, b) = (key(&mut random), key(&mut random));
        let (m, n) = (random.random_range(0..=MAX_SEQUENCE), random.random_range(0..=MAX_SEQUENCE));
        let of_a = KeyPrefix::new(Space::Data, &a).row(m);
        let of_b = KeyPrefix::new(Space::Data, &b).row(n);
        assert_eq!(of_a.cmp(&of_b), a.cmp(&b).then(n.cmp(&m)), "{a:x?} at {m}, {b:x?} at {n}");
    }
}

#[test]
fn rows_hold_no_byte_that_sled_stumbles_over_and_decode_to_what_they_were() {
    let mut random = StdRng::seed_from_u64(2);
    for _ in 0..5_000 {
        let (key, sequence) = (key(&mut random), random.random_range(0..=MAX_SEQUENCE));
        let row = KeyPrefix::new(Space::System, &key).row(sequence);
        assert!(!row.contains(&0xff), "{row:x?}");
        let (prefix, decoded) = KeyPrefix::of_row(&row).unwrap();
        assert!(prefix.covers(&row));
        assert_eq!((&prefix.key().unwrap()[..], decoded), (&key[..], sequence));
    }
}

#[test]
fn span_holds_the_rows_of_exactly_its_keys() {
    let mut random = StdRng::seed_from_u64(3);
    for _ in 0..20_000 {
        let span = Span {
            start: key(&mut random).into(),
            end: random.random_bool(0.8).then(|| key(&mut random).into()),
        };
        let (start, end) = span_bounds(Space::Data, &span);
        let key = key(&mut random);
        let row = KeyPrefix::new(Space::Data, &key).row(random.random_range(0..=MAX_SEQUENCE));
        let inside = key >= span.start && span.end.as_ref().is_none_or(|end| key < *end);
        assert_eq!(start <= row && row < end, inside, "{key:x?} in {span:?}");
        let other = KeyPrefix::new(Space::System, &key).row(0);
        assert!(!(start <= other && other < end));
    }
}

#[test]
fn version_range_of_a_key_holds_no_other_key() {
    let mut random = StdRng::seed_from_u64(4);
    for _ in 0..20_000 {
        let (a, b) = (key(&mut random), key(&mut random));
        let prefix = KeyPrefix::new(Space::Data, &a);
        let row = KeyPrefix::new(Space::Data, &b).row(random.random_range(0..=MAX_SEQUENCE));
        assert_eq!(prefix.row(MAX_SEQUENCE) <= row && row < prefix.end(), a == b, "{a:x?} {b:x?}");
    }
}

#[test]
fn garbage_rows_keep_what_they_were_given_and_sort_by_commit() {
    let rows: Vec<_> = (0..5).map(|n| KeyPrefix::new(Space::Data, &[n, 0xff]).row(n.into())).collect();
    assert_eq!(decode_garbage(&encode_garbage(&rows)).unwrap(), rows);
    let id = |commit, chunk| GarbageId { commit, chunk };
    assert_eq!(GarbageId::of_row(&id(300, 7).row()).unwrap(), id(300, 7));
    assert!(id(127, 9).row() < id(128, 0).row() && id(128, 0).row() < id(128, 1).row());
}

#[test]
fn bytes_that_no_row_has_are_corrupt() {
    let row = KeyPrefix::new(Space::Data, b"a").row(1);
    let mut high = row.clone();
    high[9] = 0x80;
    for bad in [&row[..3], &[], &high] {
        assert_eq!(KeyPrefix::of_row(bad).unwrap_err().kind(), ErrorKind::Corrupt, "{bad:x?}");
    }
    for bad in
        [&[DATA, 0x01, 0x03, TERMINATOR][..], &[DATA, 0x61], &[0x09, TERMINATOR], &[DATA, 0xfe, TERMINATOR]]
    {
        assert_eq!(KeyPrefix(bad.to_vec()).key().unwrap_err().kind(), ErrorKind::Corrupt, "{bad:x?}");
    }
    for bad in [&[][..], &[REMOVED, 1], &[2]] {
        assert_eq!(decode_value(bad).unwrap_err().kind(), ErrorKind::Corrupt, "{bad:x?}");
    }
    for bad in [&[0, 0, 0][..], &[0, 0, 0, 9, DATA], &[0, 0, 0, 1, STATE], &[0, 0, 0, 0]] {
        assert_eq!(decode_garbage(bad).unwrap_err().kind(), ErrorKind::Corrupt, "{bad:x?}");
    }
    assert_eq!(decode_state(&[1]).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(decode_state(&[0xff; 8]).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(GarbageId::of_row(&[GARBAGE, 1]).unwrap_err().kind(), ErrorKind::Corrupt);
}
