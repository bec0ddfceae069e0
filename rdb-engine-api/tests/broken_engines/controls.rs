//! Every defect, and the case that catches it.

use std::sync::Arc;
use std::time::Duration;

use rdb_engine_api::conformance::LocalHarness;
use rdb_engine_api::{Capabilities, Engine, ErrorKind, Limits, Result};

use crate::broken::{Broken, Defect};
use crate::defects::answers::*;
use crate::defects::atomicity::*;
use crate::defects::conditions::*;
use crate::defects::durability::*;
use crate::defects::expiries::*;
use crate::defects::limits::*;
use crate::defects::openings::*;
use crate::defects::orders::*;
use crate::defects::restores::*;
use crate::defects::scans::*;
use crate::defects::sessions::*;
use crate::defects::versions::*;
use crate::defects::waits::*;
use crate::defects::watches::*;
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
    both(|| Good, defect)
}

/// With habits that have a defect.
fn by<H: Habits>(habits: fn() -> H) -> LocalHarness {
    LocalHarness::new(move |directory, limits| Sound::open(directory, limits, Healthy, Arc::new(habits())))
}

fn both<H: Habits, D: Defect>(habits: fn() -> H, defect: fn() -> D) -> LocalHarness {
    LocalHarness::new(move |directory, limits| -> Result<Broken<D>> {
        let sound: Arc<dyn Engine> = Arc::new(Sound::open(directory, limits, Healthy, Arc::new(habits()))?);
        let info = sound.info().clone();
        Ok(Broken { sound, info, defect: defect() })
    })
}

/// With a defect, and no capability declared.
fn undeclared<D: Defect>(defect: fn() -> D) -> LocalHarness {
    LocalHarness::new(move |directory, limits| -> Result<Broken<D>> {
        let sound: Arc<dyn Engine> = Arc::new(Sound::open(directory, limits, Healthy, Arc::new(Good))?);
        let mut info = sound.info().clone();
        info.capabilities = Capabilities::default();
        Ok(Broken { sound, info, defect: defect() })
    })
}

/// No defect in its calls.
#[derive(Debug)]
struct Nothing;

impl Defect for Nothing {}

/// Declares the limits that it is given, and has none.
fn boundless() -> LocalHarness {
    LocalHarness::new(move |directory, limits| -> Result<Broken<Nothing>> {
        let sound = Sound::open(directory, Limits::default(), Healthy, Arc::new(Good))?;
        let sound: Arc<dyn Engine> = Arc::new(sound);
        let mut info = sound.info().clone();
        info.limits = limits;
        Ok(Broken { sound, info, defect: Nothing })
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
    "C8" "the answers to several keys in the order of the keys": with(|| AnswersInKeyOrder);
        "c08_a_get_of_several_keys_answers_in_the_order_asked", "in the order asked"
    "C8" "a key of many that is asked twice and found once": with(|| KeyAskedTwiceFoundOnce);
        "c08_a_get_of_several_keys_answers_in_the_order_asked", "each key of many has its own answer"
    "C8" "the last of many keys forgotten": with(|| LastBatchIsForgotten);
        "c08_a_get_of_several_keys_answers_in_the_order_asked", "each key of many has its own answer"
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
    "C9" "a group of writes as safe as its first one asked": on(AsSafeAsTheFirst::default);
        "c09_each_answer_of_mixed_levels_is_true", "survives a crash, whatever the others asked"
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

    "C15" "a record removed early": by(|| RemovesEarly);
        "c15_a_record_is_never_removed_early", "a record is never removed early"
    "C15" "a record never removed": by(|| NeverRemoves);
        "c15_a_record_is_removed_in_time", "is removed when its time is over"
    "C15" "what is over hidden, and never removed": both(|| NeverRemoves, || HidesWhatIsOver);
        "c15_a_removal_is_a_commit", "a removal is a commit, with a version of its own"
    "C15" "what is over hidden from reads, and not from conditions": both(|| RemovesLate, || HidesWhatIsOver);
        "c15_reads_and_conditions_see_a_record_until_its_removal", "reads and conditions see a record until its removal"
    "C15" "a removal without an event": by(|| RemovesInSecret);
        "c15_c16_a_removal_is_told_as_an_expiry", "a removal is told as an expiry"
    "C15" "a removal told as somebody's write": with(|| Tells::RemovalsAsWrites);
        "c15_c16_a_removal_is_told_as_an_expiry", "a removal is told as an expiry"
    "C15" "a life that outlasts a plain put": with(|| KeepsTheOldLife { always: false });
        "c15_a_put_without_a_time_to_live_clears_it", "a put without a time to live clears it"
    "C15" "a touch that does not prolong": with(|| KeepsTheOldLife { always: true });
        "c15_a_put_begins_the_life_anew", "a put begins the record's life anew"
    "C15" "an old entry of the index that removes a record made anew": by(|| OldEntriesAreBelieved);
        "c15_a_record_made_anew_is_not_removed_by_the_old_time", "is not removed by the old time"
    "C15" "one life for all puts of a batch": with(|| OneLifeForAll);
        "c15_a_batch_gives_each_key_its_own_life", "each put of a batch gives a life of its own"
    "C15" "a life of nothing taken for one without end": with(|| NothingIsForEver);
        "c15_a_time_to_live_out_of_bounds_is_refused", "a time to live of nothing, or above the longest (C15) is refused"
    "C15" "a scan that does not show when records expire": with(|| ScansShowNoLives);
        "c15_a_scan_shows_when_records_expire", "a scan shows when a record expires"
    "C15" "a clock that is put back": with(ClockIsPutBack::default);
        "c15_the_time_never_goes_back", "the engine's time never goes back"
    "C15" "a life forgotten over a reopen": on(|| LivesAreForgotten);
        "c15_a_life_goes_on_over_reopens_and_crashes", "a record keeps its life over"
    "C15" "what is due removed after the first answer": by(RemovesAfterTheFirstAnswer::default);
        "c15_what_is_due_is_gone_before_the_first_answer_after_a_reopen", "is gone before the first answer"

    "C16" "a watch that skips": with(|| Tells::NotAll);
        "c16_a_watch_tells_each_commit_as_it_is", "delivers every later commit of its range exactly once"
    "C16" "a watch that repeats": with(|| Tells::Twice);
        "c16_a_watch_tells_each_commit_as_it_is", "commits come once, in version order"
    "C16" "a watch that reorders": with(|| Tells::OutOfOrder);
        "c16_a_watch_tells_each_commit_as_it_is", "commits come once, in version order"
    "C16" "a commit told operation by operation": with(|| Tells::OneByOne);
        "c16_a_watch_tells_each_commit_as_it_is", "commits come once, in version order"
    "C16" "a commit told half": with(|| Tells::Half);
        "c16_a_watch_tells_each_commit_as_it_is", "exactly once, whole and in order"
    "C16" "keys told that nobody watches": with(|| TellsUnwatchedKeys);
        "c16_a_watch_tells_its_range_alone", "only watched keys are told"
    "C16" "a watch of 0xff bytes that loses their end": with(|| WatchLosesTheEndOfFf);
        "c16_a_watch_tells_its_range_alone", "delivers every later commit of its range"
    "C16" "a write told before it is committed": with(ToldBeforeCommitted::default);
        "c16_what_is_told_is_committed", "what a watch tells is committed"
    "C16" "progress told before the commits up to it": with(|| Tells::ProgressTooSoon);
        "c16_watches_among_many_writers_miss_and_repeat_nothing", "and after no mark of progress beyond them"
    "C16" "no progress told to an idle watcher": with(|| Tells::NoProgress);
        "c16_progress_is_told_to_an_idle_watcher", "and its progress where there is none"
    "C16" "what was there before read when it is told": with(|| PreviousIsReadLater);
        "c16_what_was_there_before_is_told_to_whoever_asks", "what each commit replaced"
    "C16" "a watch that begins when it is there": with(|| BeginsNow);
        "c16_a_watch_from_an_earlier_version_tells_what_came_since", "delivers every later commit of its range"
    "C16" "a watch that begins with its start": with(|| BeginsAtItsStart);
        "c16_a_watch_from_an_earlier_version_tells_what_came_since", "commits come once, in version order"
    "C16" "a watch from beyond the present taken": with(|| BeginsBeyondThePresent);
        "c16_a_start_beyond_the_present_is_refused", "a watch from beyond the present on (C16) is refused"
    "C16" "a watch from before the history that says nothing": with(|| BeginsWithTheOldest);
        "c16_a_start_before_the_history_is_refused_with_the_oldest", "a watch from before the kept history (C16) is refused"
    "C16" "a history without bound": boundless();
        "c16_a_start_before_the_history_is_refused_with_the_oldest", "a watch from before the kept history (C16) is refused"
    "C16" "a slow watcher that silently loses": with(|| ReadsAhead);
        "c16_a_slow_watcher_sees_no_gap", "has no gap"
    "C16" "a slow watcher waited for without end": boundless();
        "c16_a_slow_watcher_is_ended_and_told_so", "is ended, and not waited for"
    "C16" "a slow watcher ended like a whole one": with(|| WatchSwallows(ErrorKind::Exhausted));
        "c16_a_slow_watcher_is_ended_and_told_so", "ends with an error and never silently"
    "C16" "watches without bound": boundless();
        "c16_a_watch_too_many_is_refused_until_one_is_dropped", "one watch more than the limit is refused"
    "C16" "a watch that goes on over a restore": with(|| WatchSwallows(ErrorKind::Compacted));
        "c16_c19_a_restore_ends_watches", "ends with an error and never silently"

    "C17" "a request executed twice": with(|| StampIgnored);
        "c17_a_write_that_arrives_again_is_applied_once", "gets its first outcome"
    "C17" "arrivals at once, each executed": with(LooksThenExecutes::default);
        "c17_many_arrivals_at_once_are_one_write", "many arrivals at once are one write"
    "C17" "a replayed conflict judged again": with(JudgesAgain::conflicts);
        "c17_a_conflict_is_not_judged_again", "a conflict is not judged again"
    "C17" "a write that changed nothing judged again": with(JudgesAgain::unchanged);
        "c17_a_write_that_changed_nothing_is_not_judged_again", "nothing changes: no commit was promised"
    "C17" "a conflict told again with a later record": with(|| ConflictToldWithALaterRecord);
        "c17_a_conflict_told_again_carries_what_it_met", "names the record that it met"
    "C17" "a number reused for another batch executed": with(|| ExecutesInsteadOf(ErrorKind::InvalidArgument));
        "c17_a_number_given_to_another_batch_is_refused", "a number that was given to another batch (C17) is refused"
    "C17" "a number reused for another batch answered with the first one's outcome": with(|| NeverComparesBatches);
        "c17_a_number_given_to_another_batch_is_refused", "a number that was given to another batch (C17) is refused"
    "C17" "the last outcomes alone remembered": with(RemembersAFew::default);
        "c17_numbers_may_come_in_any_order", "each of 40 outcomes is remembered"
    "C17" "a write of an unknown session executed": with(|| ExecutesInsteadOf(ErrorKind::Unknown));
        "c17_a_write_of_an_unknown_session_is_never_executed", "a write of an unknown session (C17) is refused"
    "C17" "a write of an ended session executed": with(|| ExecutesInsteadOf(ErrorKind::Unknown));
        "c17_a_write_of_an_ended_session_is_never_executed", "a write of an ended session (C17) is refused"
    "C17" "a number outside the window executed": with(|| ExecutesInsteadOf(ErrorKind::Unknown));
        "c17_a_number_outside_the_window_is_never_executed", "a number beyond the window (C17) is refused"
    "C17" "settled as not executed, and executed then": with(SettlesWithoutAFence::default);
        "c17_what_is_settled_as_not_executed_never_is", "a write that was settled as not executed (C17) is refused"
    "C17" "what is forgotten settled as not executed": with(|| UnknownIsNotExecuted);
        "c17_a_write_of_an_unknown_session_is_never_executed", "a write of an unknown session (C17) is refused"
    "C17" "a live session ended for a new one": with(EndsTheOldestSession::default);
        "c17_a_session_too_many_is_refused_until_one_is_ended", "one session more than the limit is refused"
    "C17" "a stale arrival executed": with(|| AnyLifeWillDo);
        "c17_an_arrival_meant_for_another_life_does_nothing", "an arrival that was meant for another life (C17) is refused"
    "C17" "lives counted anew after a reopen": with(|| OneLife);
        "c17_no_id_and_no_life_is_given_twice", "each opening begins another life"
    "C17" "an outcome forgotten over a reopen": on(|| Keeps::NoOutcomes);
        "c17_a_committed_write_is_remembered_over_reopens_and_crashes", "a committed write is remembered over a reopen"
    "C17" "an outcome written after its commit": on(OutcomesComeLater::default);
        "c17_a_committed_write_is_remembered_over_reopens_and_crashes", "a committed write is remembered over a crash"
    "C17" "a session's end forgotten over a reopen": on(|| Keeps::NoEnds);
        "c17_an_ended_session_stays_ended_over_reopens_and_crashes", "an ended session stays ended"
    "C17" "a level asked later answered and not reached": on(NoChangeVouchesForNothing::default);
        "c17_a_level_asked_later_is_reached", "survives (C9, C17)"

    "C18" "a time to live ignored": undeclared(|| TtlIgnored);
        "c18_an_undeclared_time_to_live_is_refused_and_nothing_applied", "an undeclared time to live (C18) is refused"
    "C18" "a session's stamp ignored": undeclared(|| StampIgnored);
        "c18_an_undeclared_stamp_is_refused_and_nothing_applied", "with an undeclared session's stamp (C18) is refused"
    "C18" "a watch accepted that delivers nothing": undeclared(|| SilentWatch);
        "c18_an_undeclared_watch_is_refused", "an undeclared watch (C18) is refused"

    "C18" "a wait ignored": undeclared(|| WaitsFor(|_| Duration::ZERO));
        "c18_an_undeclared_wait_is_refused_and_nothing_applied", "an undeclared wait (C18) is refused"

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

    "C20" "the last one to wait served first": by(|| LastComeFirstServed);
        "c20_first_come_first_served", "in the order in which they came"
    "C20" "a write that waits served after one that comes later": with(|| TriesAgainAndAgain);
        "c20_whoever_waits_comes_before_whoever_comes_later", "has its turn before anything that comes later"
    "C20" "woken by puts, and never by deletes": by(|| Wakes::Puts);
        "c20_a_write_is_applied_when_its_condition_holds", "is applied when its condition holds (C20): it still waits"
    "C20" "never woken by the removal of what is over": by(|| Wakes::CallersWrites);
        "c15_c20_a_removal_wakes_those_who_wait_for_it", "a removal wakes those who wait for it"
    "C20" "waiting past the deadline": with(|| WaitsFor(|wait| wait + Duration::from_secs(40)));
        "c20_when_the_time_is_over_the_answer_is_the_conflict", "the answer is the conflict, without delay"
    "C20" "turned away before the deadline": with(|| WaitsFor(|wait| wait / 2));
        "c20_when_the_time_is_over_the_answer_is_the_conflict", "nobody is turned away before the time is over"
    "C20" "applied after it was answered as a conflict": with(|| AppliesAfterItsTime);
        "c20_when_the_time_is_over_the_answer_is_the_conflict", "what was answered as a conflict is never applied"
    "C20" "waiting for a version that never comes back": with(|| WaitsInVain);
        "c20_what_can_never_hold_again_is_answered_at_once", "is not waited for"
    "C20" "one condition waited for after the other": with(|| WaitsForOneAfterTheOther);
        "c20_all_conditions_hold_at_once", "no condition is passed over"
    "C20" "a write that waits holds up the others": with(HoldsUpTheOthers::default);
        "c20_nobody_is_held_up_by_those_who_wait", "nobody is held up by those who wait"
    "C20" "those who wait without bound": boundless();
        "c20_a_wait_too_many_is_refused_until_one_is_over", "one more write that would wait (C14, C20) is refused"
    "C20" "close leaves those who wait without an answer": with(|| CloseForgetsWhoWaits);
        "c12_c20_close_answers_those_who_wait", "close answers those who wait"
};
