//! Every defect, and the case that catches it.

use std::sync::Arc;

use rdb_engine_api::conformance::LocalHarness;
use rdb_engine_api::{Engine, ErrorKind, Result};

use crate::broken::{Broken, Defect};
use crate::defects::answers::*;
use crate::defects::atomicity::*;
use crate::defects::conditions::*;
use crate::defects::durability::*;
use crate::defects::limits::*;
use crate::defects::openings::*;
use crate::defects::orders::*;
use crate::defects::restores::*;
use crate::defects::scans::*;
use crate::defects::versions::*;
use crate::disk::{Disk, Healthy, Syncing};
use crate::habits::{Good, Habits};
use crate::sound::Sound;

/// A defect, the clause that it breaks, the case that was written for that, and words that the case's failure
/// must contain: those of the broken promise, so that a case that fails for another reason does not count.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) clause: &'static str,
    pub(crate) defect: &'static str,
    pub(crate) case: &'static str,
    pub(crate) promise: &'static str,
    pub(crate) harness: fn() -> LocalHarness,
}

/// The engine that the broken ones are made of.
pub(crate) fn sound() -> LocalHarness {
    on(|| Healthy)
}

/// The same, synced.
pub(crate) fn synced() -> LocalHarness {
    on(|| Syncing)
}

fn on<D: Disk>(disk: fn() -> D) -> LocalHarness {
    LocalHarness::new(move |directory, limits| Sound::open(directory, limits, disk(), Arc::new(Good)))
}

fn with<D: Defect>(defect: fn() -> D) -> LocalHarness {
    LocalHarness::new(move |directory, limits| -> Result<Broken<D>> {
        let sound: Arc<dyn Engine> = Arc::new(Sound::open(directory, limits, Healthy, Arc::new(Good))?);
        Ok(Broken { sound, defect: defect() })
    })
}

macro_rules! controls {
    ($($clause:literal $defect:literal: $harness:expr; $case:literal, $promise:literal)*) => {
        &[$(Control {
            clause: $clause, defect: $defect, case: $case, promise: $promise, harness: || $harness,
        }),*]
    };
}

/// By clause. C11 is missing: it takes a store that fails on demand, which the public suite does not have.
pub(crate) const CONTROLS: &[Control] = controls! {
    "C1" "compare-and-swap is a get, then a put": with(|| GetThenPut);
        "c01_a_compare_and_swap_counter_is_exact", "no increment is lost"
    "C1" "a read cache that keeps deleted records": with(CacheKeepsDeleted::default);
        "c01_a_read_sees_every_write_that_returned_before_it", "a get sees the delete that returned before it"
    "C1" "reads from a follower that is one write behind": with(ReadsFromAFollower::default);
        "c01_a_read_never_goes_back", "had been seen or acknowledged"
    "C1" "now and then a get that is late": with(NowAndThenStale::default);
        "c01_callers_that_do_everything_agree_on_one_order", "what the callers saw, together, is linearizable"
    "C1" "now and then a write executed twice": with(NowAndThenTwice::default);
        "c01_callers_that_do_everything_agree_on_one_order", "what the callers saw, together, is linearizable"
    "C1" "a write given up by its caller, sent again": with(|| GivenUpIsSentAgain);
        "c01_c10_callers_that_give_up_agree_on_one_order", "what the callers saw, together, is linearizable"

    "C2" "a batch applied operation by operation, seen half done": with(|| OneByOne);
        "c02_readers_never_see_half_a_batch", "all records of a view come from one batch"
    "C2" "a batch of which a crash leaves half": on(TornBatch::default);
        "c02_a_batch_survives_a_crash_whole_or_not_at_all", "a batch survives whole or not at all"
    "C2" "a condition that stops the operations on its own key alone": with(|| ConditionsGuardTheirKeyAlone);
        "c02_a_batch_whose_last_condition_fails_applies_nothing", "a batch whose condition fails applies nothing"
    "C2" "of two operations on one key the first wins": with(|| FirstOperationWins);
        "c02_of_two_operations_on_one_key_the_last_wins", "the last wins"

    "C3" "conditions judged against the batch's own writes": with(|| JudgedAfterTheBatch);
        "c03_conditions_are_not_judged_against_the_batch_itself", "a conflict was promised"
    "C3" "conditions judged on written keys alone": with(|| JudgesWrittenKeysAlone);
        "c03_two_batches_cannot_both_rest_on_what_the_other_changes", "exactly one can"
    "C3" "the last failing condition reported, not the first": with(|| ReportsTheLast);
        "c03_the_first_failing_condition_is_the_one_reported", "the first condition that fails"

    "C4" "versions per key": with(VersionsPerKey::default);
        "c04_versions_grow_over_all_keys", "greater than that of every earlier commit of the engine"
    "C4" "a batch that changes nothing takes a version": with(|| NoChangeTakesAVersion);
        "c04_a_delete_of_an_absent_key_takes_no_version", "a batch without effect takes no version"
    "C4" "a put of an equal value answered as unchanged": with(|| EqualPutIsNoChange);
        "c04_a_put_of_an_equal_value_is_a_commit", "a put of an equal value is a commit of its own"
    "C4" "a delete without a version of its own": with(|| DeleteTakesNoVersion);
        "c04_a_delete_of_a_record_is_a_commit", "a delete is a commit with a version of its own"

    "C5" "the counter rebuilt from live records": on(|| CounterFromLiveRecords);
        "c05_deleting_the_newest_record_frees_no_version_at_a_reopen", "not rebuilt from live records"
    "C5" "versions reused after a reopen": on(|| CounterBeginsAnew);
        "c05_a_reopen_gives_no_version_twice", "the view's version never goes back"
    "C5" "versions of commits that a crash took away reused": on(CounterAsSafeAsTheData::default);
        "c05_a_version_that_a_crash_took_away_is_not_given_again", "no version that anyone has seen is given twice"
    "C5" "a directory made anew counts from 1": on(|| CounterInTheLogAlone);
        "c05_a_directory_made_anew_repeats_no_version", "a directory made anew repeats no version"

    "C6" "a value condition that compares a prefix": with(|| ComparesAPrefix);
        "c06_value_compares_every_byte", "the value is not"
    "C6" "an empty value taken for no record": with(|| EmptyIsAbsent);
        "c06_present_holds_where_there_is_a_record", "an empty value is a record"
    "C6" "a version condition that a later version fulfils": with(|| AnyLaterVersionHolds);
        "c06_version_holds_of_the_latest_commit_alone", "the record's version is no longer"

    "C7" "a conflict that changes something": with(|| ConflictTouches);
        "c07_a_conflict_changes_nothing", "a conflict changes no record"
    "C7" "a conflict with the record that was read before": with(StaleConflict::default);
        "c07_a_conflict_is_enough_to_try_again", "the record of its view, not an older one"
    "C7" "a conflict without the record that is there": with(|| BareConflict);
        "c07_a_conflict_carries_what_is_there", "the conflict carries the current record"
    "C7" "a conflict with the record's version for the view's": with(|| ConflictAtTheRecordsVersion);
        "c07_a_conflict_carries_what_is_there", "the conflict carries the version of the view it was judged in"

    "C8" "a scan that sees later writes": with(|| ScanSeesLaterWrites);
        "c08_a_scan_shows_no_later_write", "shows the view it was opened in"
    "C8" "a prefix of 0xff bytes loses its last key": with(|| ScanLosesTheLastKeyOfFf);
        "c08_a_prefix_of_ff_keeps_its_last_key", "delivers the keys of"
    "C8" "a reverse scan that includes its excluded end": with(|| ReverseIncludesItsEnd);
        "c08_bounds_are_included_or_excluded_as_asked", "is the mirror of a forward one"
    "C8" "several keys read one by one": with(|| KeysReadOneByOne);
        "c08_a_get_of_several_keys_among_transfers_shows_one_view", "no view shows money made or lost"
    "C8" "a scan with its newest record's version for its view's": with(|| ScanAtTheNewestRecord);
        "c08_a_scan_reports_its_views_version", "the version of the whole view"
    "C8" "a scan that is silently short": with(|| ScanStopsAfterAThousand);
        "c08_a_scan_of_many_entries_is_whole", "delivers every one of 5000 keys"

    "C9" "acknowledged before it is handed to the system": on(AcknowledgedFirst::default);
        "c09_what_was_answered_as_safe_survives_a_crash", "what was answered as"
    "C9" "acknowledged before it is synced": on(|| AcknowledgedBeforeSynced);
        "c09_what_was_answered_as_synced_survives_a_power_cut", "is there after a power cut"
    "C9" "acknowledged from a buffer, lost at a kill": on(Buffered::default);
        "c09_what_survives_a_crash_is_a_prefix_of_the_commits", "commits were answered as safe"
    "C9" "later commits survive, earlier ones do not": on(TwoLogs::default);
        "c09_what_survives_a_crash_is_a_prefix_of_the_commits", "what survives is a prefix of the commits"
    "C9" "the default level answered, but not kept": on(DefaultIsVolatile::default);
        "c09_a_write_without_a_level_is_as_safe_as_its_answer_says", "a write that asked for no level"
    "C9" "a batch that changed nothing vouches for what is not safe": on(NoChangeVouchesForNothing::default);
        "c09_a_batch_that_changes_nothing_vouches_for_its_view", "vouches for the whole view"
    "C9" "visible before committed": with(VisibleBeforeCommitted::default);
        "c09_what_anyone_has_seen_survives_a_crash", "nothing is visible before its commit returned"
    "C9" "a deleted key that comes back": on(|| DeletedComesBack);
        "c09_what_was_deleted_stays_deleted", "a deleted key does not come back"
    "C9" "a level answered below the one asked": with(|| AnswersALowerLevel);
        "c09_the_level_reached_is_at_least_the_level_asked", "never less than the level asked"
    "C9" "a level above the best taken for the best": with(|| AsSafeAsCanBe);
        "c09_a_level_above_the_best_is_refused_and_nothing_applied", "a level above the engine's best (C9) is refused"

    "C10" "a write that timed out answered as not applied, and applied": with(TimeoutMeansNotApplied::default);
        "c10_a_write_whose_time_ran_out_is_not_applied", "a write answered as not applied never is"
    "C10" "a dropped write that leaves half": with(|| OneByOne);
        "c10_a_dropped_write_is_applied_whole_or_not_at_all", "operations of a dropped write were seen"
    "C10" "close throws away what was acknowledged": on(CloseForgets::default);
        "c10_answers_given_while_closing_are_true", "was acknowledged before the close"

    "C12" "a second opener admitted": on(|| SecondOpenerAdmitted);
        "c12_a_second_opener_is_refused", "a second open of a directory (C12) is refused"
    "C12" "close keeps the directory": on(|| CloseKeepsTheDirectory);
        "c12_close_frees_the_engine_for_a_reopen", "the engine did not open what it left"
    "C12" "writes accepted and lost after close": with(|| ClosedTakesWrites);
        "c12_a_closed_engine_answers_closed", "a write on a closed engine (C12) is refused"
    "C12" "close ends a scan like a whole one": with(|| ScanSwallows(ErrorKind::Closed));
        "c12_close_ends_scans_with_closed", "after close a scan ended like a whole one"

    "C13" "a wrong checksum ignored": on(|| ChecksumIgnored);
        "c13_a_flipped_bit_never_gives_a_wrong_value", "has a value that was never written"
    "C13" "a damaged record answered as absent": on(|| DamageIsAbsence);
        "c13_a_flipped_bit_never_gives_a_wrong_value", "are missing or older, and nothing says so"
    "C13" "a log that was cut short filled up": on(|| CutLogFilledUp);
        "c13_a_file_cut_short_never_gives_a_wrong_value", "has a value that was never written"
    "C13" "a log that lost its end taken for a shorter one": on(|| EveryEndIsACrash);
        "c13_a_file_cut_short_never_gives_a_wrong_value", "are missing or older, and nothing says so"
    "C13" "another engine's directory taken": on(|| TakesAnyDirectory);
        "c13_another_engines_directory_is_refused", "another engine's directory is refused"

    "C14" "a limit checked after a part was applied": with(|| LimitCheckedOnTheWay);
        "c14_a_batch_of_too_many_operations_is_refused", "nothing of a batch of too many operations is applied"
    "C14" "a long value cut at the limit": with(|| LongValueIsCut);
        "c14_a_value_beyond_the_limit_is_refused", "a value beyond the limit is refused"
    "C14" "a get of any number of keys": with(|| KeysWithoutBound);
        "c14_a_get_of_too_many_keys_is_refused", "a get of too many keys is refused"
    "C14" "scans without bound": with(|| ScansWithoutBound);
        "c14_a_scan_too_many_is_refused_until_one_is_dropped", "one scan more than the limit is refused"
    "C14" "a scan at rest ended like a whole one": with(|| ScanSwallows(ErrorKind::Exhausted));
        "c14_a_scan_at_rest_ends_in_an_error", "a scan that was given up ended like a whole one"

    "C18" "a time to live ignored": with(|| TtlIgnored);
        "c18_an_undeclared_time_to_live_is_refused_and_nothing_applied", "an undeclared time to live (C18) is refused"
    "C18" "a session's stamp ignored": with(|| StampIgnored);
        "c18_an_undeclared_stamp_is_refused_and_nothing_applied", "with an undeclared session's stamp (C18) is refused"
    "C18" "a watch accepted that delivers nothing": with(|| SilentWatch);
        "c18_an_undeclared_watch_is_refused", "an undeclared watch (C18) is refused"

    "C19" "restored records with new versions": with(|| RestoredByPuts);
        "c19_a_restore_keeps_keys_values_and_versions", "keeps keys, values and versions"
    "C19" "a restore seen record by record": with(|| RestoredByPuts);
        "c19_readers_among_a_restore_see_all_or_nothing", "all of a view is seen, or nothing"
    "C19" "a line that is not raised above the restored view": on(|| LineNotRaised);
        "c19_the_line_goes_on_above_a_view_from_the_future", "above every version restored"
    "C19" "a line that goes back to the restored view's": on(|| LineOfTheView);
        "c19_the_line_never_goes_back_to_an_older_views", "above every version shown and above the clock"
    "C19" "a stream that breaks off leaves what came before": with(|| KeepsWhatCame);
        "c19_a_stream_that_breaks_off_leaves_nothing", "all of a view is restored, or nothing ever is"
    "C19" "a restore that replaces what is there": with(|| ClearsTheWay);
        "c19_an_engine_that_is_not_empty_refuses", "a restore into an engine that is not empty"
    "C19" "records out of order put in order": with(|| AnyOrderWillDo);
        "c19_a_view_that_cannot_be_one_is_refused_and_nothing_restored", "a key out of order is refused"
};
