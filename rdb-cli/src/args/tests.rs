use super::*;

fn parse(line: &str) -> Result<Args, ErrorKind> {
    Args::try_parse_from(line.split(' ')).map_err(|error| error.kind())
}

#[test]
fn the_command_line_is_consistent() {
    Args::command().debug_assert();
}

#[test]
fn the_command_line_goes_before_the_environment() {
    let by_pd = |line: &str| {
        let matches = Args::command()
            .mut_args(|argument| argument.env(Resettable::Reset))
            .try_get_matches_from(line.split(' '))
            .unwrap();
        let mut args = Args::from_arg_matches(&matches).unwrap();
        (args.connection.decide(&matches), args.connection.is_by_pd())
    };
    assert_eq!(by_pd("rdb health"), (true, false));
    assert_eq!(by_pd("rdb --endpoints a health"), (true, false));
    assert_eq!(by_pd("rdb --pd a health"), (true, true));
    assert_eq!(by_pd("rdb health --pd a"), (true, true));
    assert!(!by_pd("rdb --endpoints a health --pd b").0);
}

#[test]
fn every_command_shows_an_example() {
    for command in Args::command().get_subcommands() {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.contains(&format!("rdb {}", command.get_name())), "{}", command.get_name());
    }
}

#[test]
fn a_cas_has_exactly_one_expectation_and_one_effect() {
    for line in [
        "rdb cas k v --absent",
        "rdb cas k v --present",
        "rdb cas k v --expect old",
        "rdb cas k v --expect-version 7",
        "rdb cas k --delete --expect-version 7",
    ] {
        assert!(parse(line).is_ok(), "{line}");
    }
    for (line, kind) in [
        ("rdb cas k v", ErrorKind::MissingRequiredArgument),
        ("rdb cas k --absent", ErrorKind::MissingRequiredArgument),
        ("rdb cas k v --absent --present", ErrorKind::ArgumentConflict),
        ("rdb cas k v --absent --expect-version 7", ErrorKind::ArgumentConflict),
        ("rdb cas k v --expect-version 7 --expect old", ErrorKind::ArgumentConflict),
        ("rdb cas k v --delete --present", ErrorKind::ArgumentConflict),
        ("rdb cas k --delete --absent", ErrorKind::ArgumentConflict),
        ("rdb cas k v --expect-version 0", ErrorKind::ValueValidation),
    ] {
        assert_eq!(parse(line).unwrap_err(), kind, "{line}");
    }
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    for line in
        ["rdb scan --prefix a --from b", "rdb scan --prefix a --to b", "rdb scan --keys-only --count-only"]
    {
        assert_eq!(parse(line).unwrap_err(), ErrorKind::ArgumentConflict, "{line}");
    }
}

#[test]
fn keys_that_cannot_be_are_refused() {
    let long = "k".repeat(rdb_client::MAX_KEY_BYTES + 1);
    assert_eq!(parse(&format!("rdb get {long}")).unwrap_err(), ErrorKind::ValueValidation);
    assert_eq!(parse("rdb get ").unwrap_err(), ErrorKind::ValueValidation);
}

#[test]
fn a_negative_number_is_a_value() {
    assert!(parse("rdb put k -5").is_ok());
    assert!(parse("rdb put k -- -x").is_ok());
    assert_eq!(parse("rdb put k -x").unwrap_err(), ErrorKind::UnknownArgument);
}

#[test]
fn a_time_to_live_is_one_that_an_engine_takes() {
    for line in ["rdb put k v --ttl 1ms", "rdb put k v --ttl 36500d", "rdb cas k v --absent --ttl 1.5h"] {
        assert!(parse(line).is_ok(), "{line}");
    }
    for ttl in ["0s", "0.5ms", "36501d", "5", "-1s"] {
        assert_eq!(
            parse(&format!("rdb put k v --ttl={ttl}")).unwrap_err(),
            ErrorKind::ValueValidation,
            "{ttl}"
        );
    }
    let line = "rdb cas k --delete --present --ttl 1s";
    assert_eq!(parse(line).unwrap_err(), ErrorKind::ArgumentConflict);
}

#[test]
fn a_watch_is_of_a_key_or_a_range_from_one_place_on() {
    for line in [
        "rdb watch",
        "rdb watch k --after 7 --previous --limit 1 --for 10s",
        "rdb watch --prefix p --snapshot --progress",
        "rdb watch --progress=250ms k",
        "rdb watch --progress k",
        "rdb watch --from a --to b",
    ] {
        assert!(parse(line).is_ok(), "{line}");
    }
    for (line, kind) in [
        ("rdb watch k --prefix p", ErrorKind::ArgumentConflict),
        ("rdb watch k --to p", ErrorKind::ArgumentConflict),
        ("rdb watch --prefix p --from a", ErrorKind::ArgumentConflict),
        ("rdb watch --after 7 --snapshot", ErrorKind::ArgumentConflict),
        ("rdb watch --snapshot --previous", ErrorKind::ArgumentConflict),
        ("rdb watch --after 0", ErrorKind::ValueValidation),
        ("rdb watch --limit 0", ErrorKind::ValueValidation),
        ("rdb watch --progress=2d", ErrorKind::ValueValidation),
    ] {
        assert_eq!(parse(line).unwrap_err(), kind, "{line}");
    }
}

#[test]
fn a_benchmark_without_arguments_takes_less_than_twenty_seconds() {
    let Ok(Args { command: Command::Bench(bench), .. }) = parse("rdb bench") else {
        panic!("a benchmark needs no arguments");
    };
    let settings = bench.settings().unwrap();
    let all: std::time::Duration = settings.iter().map(|settings| settings.warm_up + settings.time).sum();
    assert!(all.as_secs() < 17, "{all:?}, and the records have to be stored and removed");
    assert!(settings.iter().all(|settings| settings.key_bytes == 16));
    let long = "rdb bench get --callers 1,2 --prefix a/long/prefix/of/its/own/";
    assert!(parse(long).is_ok());
}
