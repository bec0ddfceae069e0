use rdb_engine_api::conformance::{self, run};
use rstest::rstest;

use super::engines::{NOT_OVER_THE_WIRE, Name, Served};

macro_rules! on_every_engine {
    ([] $($group:ident { $($case:ident $(($need:ident))?),* $(,)? })*) => {
        $(mod $group {
            use super::*;

            $(#[rstest]
            #[case::mem(Name::Mem)]
            #[case::sled(Name::Sled)]
            #[case::rocks(Name::Rocks)]
            fn $case(#[case] engine: Name) {
                run(stringify!($case), Served(engine));
            })*
        })*
    };
}

rdb_engine_api::conformance_cases! { [on_every_engine] [] }
rdb_engine_api::power_cut_cases! { [on_every_engine] [] }

/// What is left out over the wire is this list, and nothing that every engine has to do is on it.
#[test]
fn what_does_not_apply_over_the_wire_is_a_known_list() {
    for (name, reason) in NOT_OVER_THE_WIRE {
        let case = conformance::cases().iter().find(|case| case.name == name);
        let case = case.unwrap_or_else(|| panic!("no case is called `{name}`"));
        assert_eq!(case.need, Some(conformance::Need::Directory), "{case:?} is not about a directory");
        println!("not over the wire: {case:?}: {reason}");
    }
    let left_out = conformance::cases()
        .iter()
        .filter(|case| NOT_OVER_THE_WIRE.iter().any(|(name, _)| *name == case.name));
    assert_eq!(left_out.count(), NOT_OVER_THE_WIRE.len(), "each is named once");
}
