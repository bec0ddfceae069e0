use super::*;

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

#[test]
fn a_history_that_is_too_short_names_its_beginning_and_the_ways_on() {
    let failure = ended(Error::new(ErrorKind::Compacted, "history is compacted").at(version(90)), None);
    assert_eq!(failure.exit(), Exit::Error);
    assert!(failure.message().starts_with("compacted: "), "{}", failure.message());
    for said in ["begins after version 90", "--snapshot", "--after 90"] {
        assert!(failure.message().contains(said), "{said}: {}", failure.message());
    }
}

#[test]
fn a_watch_that_fell_behind_says_where_to_go_on() {
    let failure =
        ended(Error::new(ErrorKind::Exhausted, "reader fell behind").at(version(17)), Some(version(17)));
    assert_eq!(failure.exit(), Exit::Error);
    assert!(failure.message().ends_with("--after 17 goes on from there"), "{}", failure.message());
    let refused = ended(Error::new(ErrorKind::Exhausted, "too many watches"), None);
    assert_eq!(refused.message(), "exhausted: too many watches");
}
