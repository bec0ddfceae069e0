//! The one list of all cases, and what is made from it.

use super::{Case, Group, Need};
#[allow(clippy::wildcard_imports)] // the list names each function
use super::{
    batch::*, blocking::*, concurrency::*, core::*, damage::*, declared::*, durability::*, expiry::*,
    lifecycle::*, limits::*, model::*, power::*, restore::*, scan::*, session_ends::*, sessions::*,
    versions::*, watch::*, watch_ends::*,
};

/// Hands the list of all cases to a macro: `conformance_cases! { [callback] [its own arguments] }` becomes
/// `callback! { [its own arguments] group { case, case (need), .. } .. }`.
#[macro_export]
macro_rules! conformance_cases {
    ([$($callback:tt)+] [$($arguments:tt)*]) => {
        $($callback)+! { [$($arguments)*]
            core {
                c01_a_key_never_written_has_no_record,
                c01_a_read_sees_every_write_that_returned_before_it,
                c01_keys_and_values_are_opaque,
                c04_a_delete_of_a_record_is_a_commit,
                c04_a_delete_of_an_absent_key_takes_no_version,
                c04_a_put_of_an_equal_value_is_a_commit,
                c04_versions_grow_over_all_keys,
                c05_a_recreated_key_gets_a_greater_version,
                c06_absent_holds_where_there_is_no_record,
                c06_present_holds_where_there_is_a_record,
                c06_value_compares_every_byte,
                c06_version_holds_of_the_latest_commit_alone,
                c06_version_is_not_fooled_by_a_value_that_came_back,
                c07_a_conflict_carries_what_is_there,
                c07_a_conflict_changes_nothing,
                c07_a_conflict_is_enough_to_try_again,
                c07_a_conflict_says_that_there_is_no_record,
                c18_an_undeclared_restore_is_refused (no_restore),
                c18_an_undeclared_session_is_refused (no_sessions),
                c18_an_undeclared_stamp_is_refused_and_nothing_applied (no_sessions),
                c18_an_undeclared_time_to_live_is_refused_and_nothing_applied (no_expiry),
                c18_an_undeclared_wait_is_refused_and_nothing_applied (no_blocking),
                c18_an_undeclared_watch_is_refused (no_watch),
                suite_runs_what_the_engine_declares,
            }
            batch {
                c02_a_batch_is_applied_whole,
                c02_a_batch_whose_last_condition_fails_applies_nothing,
                c02_of_two_operations_on_one_key_the_last_wins,
                c03_all_conditions_are_judged_whatever_the_batch_writes,
                c03_conditions_are_not_judged_against_the_batch_itself,
                c03_contradicting_conditions_never_hold,
                c03_the_first_failing_condition_is_the_one_reported,
                c04_a_batch_of_conditions_alone_takes_no_version,
                c04_a_put_taken_back_on_an_absent_key_changes_nothing,
                c04_all_records_of_a_batch_carry_its_version,
                c04_one_effective_operation_makes_a_commit,
                c07_a_conflict_in_a_batch_carries_the_failing_keys_record,
            }
            scan {
                c08_a_get_of_several_keys_answers_in_the_order_asked,
                c08_a_limit_ends_a_scan,
                c08_a_prefix_does_not_reach_its_neighbours,
                c08_a_prefix_of_ff_keeps_its_last_key,
                c08_a_reverse_scan_is_stable_across_10000_writes,
                c08_a_scan_is_in_byte_order_both_ways,
                c08_a_scan_is_stable_across_10000_writes,
                c08_a_scan_of_keys_delivers_no_records,
                c08_a_scan_of_many_entries_is_whole,
                c08_a_scan_reports_its_views_version,
                c08_a_scan_shows_no_later_write,
                c08_an_inverted_range_is_empty,
                c08_bounds_are_included_or_excluded_as_asked,
                c08_each_scan_shows_its_own_view,
                c08_random_ranges_agree_with_a_sorted_set,
                c08_the_empty_prefix_is_everything,
            }
            concurrency {
                c01_a_compare_and_swap_counter_is_exact,
                c01_a_read_never_goes_back,
                c01_c10_callers_that_give_up_agree_on_one_order,
                c01_callers_that_do_everything_agree_on_one_order,
                c01_of_many_inserts_exactly_one_succeeds,
                c02_readers_never_see_half_a_batch,
                c03_two_batches_cannot_both_rest_on_what_the_other_changes,
                c04_versions_follow_the_order_of_writes,
                c07_a_conflict_is_never_stale,
                c08_a_get_of_several_keys_among_transfers_shows_one_view,
                c08_a_scan_among_transfers_shows_one_view,
                c10_a_dropped_write_is_applied_whole_or_not_at_all,
            }
            durability {
                c02_a_batch_survives_a_crash_whole_or_not_at_all (persistent),
                c05_a_directory_made_anew_repeats_no_version (directory),
                c05_a_reopen_gives_no_version_twice,
                c05_a_version_that_a_crash_took_away_is_not_given_again (persistent),
                c05_a_volatile_start_is_above_the_wall_clock (volatile),
                c05_deleting_the_newest_record_frees_no_version_at_a_crash (persistent),
                c05_deleting_the_newest_record_frees_no_version_at_a_reopen,
                c06_a_version_seen_before_a_reopen_still_holds (persistent),
                c09_a_batch_that_changes_nothing_reaches_the_level_asked,
                c09_a_batch_that_changes_nothing_vouches_for_its_view (persistent),
                c09_a_level_above_the_best_is_refused_and_nothing_applied (below_synced),
                c09_a_write_without_a_level_gets_the_declared_default,
                c09_a_write_without_a_level_is_as_safe_as_its_answer_says (persistent),
                c09_each_answer_of_mixed_levels_is_true (persistent),
                c09_the_level_reached_is_at_least_the_level_asked,
                c09_what_anyone_has_seen_survives_a_crash (persistent),
                c09_what_survives_a_crash_is_a_prefix_of_the_commits (persistent),
                c09_what_was_acknowledged_is_there_after_a_reopen (persistent),
                c09_what_was_answered_as_safe_survives_a_crash (persistent),
                c09_what_was_deleted_stays_deleted (persistent),
            }
            limits {
                c10_a_write_whose_time_ran_out_in_the_queue_is_not_applied,
                c10_a_write_whose_time_ran_out_is_not_applied,
                c14_a_batch_of_too_many_bytes_is_refused,
                c14_a_batch_of_too_many_operations_is_refused,
                c14_a_get_of_too_many_keys_is_refused,
                c14_a_key_has_1_to_4096_bytes,
                c14_a_scan_at_rest_ends_in_an_error,
                c14_a_scan_too_many_is_refused_until_one_is_dropped,
                c14_a_value_beyond_the_limit_is_refused,
            }
            lifecycle {
                c08_a_scan_read_before_close_is_whole,
                c10_a_write_after_close_is_not_applied (persistent),
                c10_answers_given_while_closing_are_true (persistent),
                c12_a_closed_engine_answers_closed,
                c12_a_dropped_engine_frees_its_directory (directory),
                c12_a_reopen_declares_the_same,
                c12_a_second_opener_is_refused (directory),
                c12_close_answers_every_write,
                c12_close_ends_scans_with_closed,
                c12_close_frees_the_engine_for_a_reopen,
                c12_closing_twice_is_closing_once,
                c13_a_copied_directory_opens_with_everything_in_it (directory),
                c13_a_damaged_mark_is_refused (directory),
                c13_a_file_cut_short_never_gives_a_wrong_value (directory),
                c13_a_flipped_bit_never_gives_a_wrong_value (directory),
                c13_a_strangers_directory_is_refused (directory),
                c13_an_unknown_format_is_refused (directory),
                c13_another_engines_directory_is_refused (directory),
            }
            restore {
                c19_a_close_ends_a_restore_and_leaves_nothing (restore),
                c19_a_crash_in_the_middle_of_a_restore_leaves_nothing (persistent_restore),
                c19_a_restore_given_up_leaves_nothing (restore),
                c19_a_restore_keeps_keys_values_and_versions (restore),
                c19_a_stream_at_rest_is_given_up (restore),
                c19_a_stream_that_breaks_off_leaves_nothing (restore),
                c19_a_view_that_cannot_be_one_is_refused_and_nothing_restored (restore),
                c19_an_empty_view_is_restored (restore),
                c19_an_engine_moved_there_and_back_is_equal (restore),
                c19_an_engine_that_is_not_empty_refuses (restore),
                c19_readers_among_a_restore_see_all_or_nothing (restore),
                c19_reads_and_writes_during_a_restore_are_unavailable (restore),
                c19_the_line_goes_on_above_a_view_from_the_future (restore),
                c19_the_line_never_goes_back_to_an_older_views (restore),
                c19_what_was_restored_survives_a_reopen_and_a_crash (persistent_restore),
            }
            expiry {
                c15_a_batch_gives_each_key_its_own_life (expiry),
                c15_a_life_goes_on_over_reopens_and_crashes (persistent_expiry),
                c15_a_put_begins_the_life_anew (expiry),
                c15_a_put_without_a_time_to_live_clears_it (expiry),
                c15_a_record_is_never_removed_early (expiry),
                c15_a_record_is_removed_in_time (expiry),
                c15_a_record_made_anew_is_not_removed_by_the_old_time (expiry),
                c15_a_removal_is_a_commit (expiry),
                c15_a_scan_shows_when_records_expire (expiry),
                c15_a_time_to_live_out_of_bounds_is_refused (expiry),
                c15_a_version_condition_holds_until_the_removal (expiry),
                c15_c19_a_restore_keeps_when_records_expire (expiry_restore),
                c15_reads_and_conditions_see_a_record_until_its_removal (expiry),
                c15_the_time_never_goes_back (expiry),
                c15_thousands_of_records_are_removed_in_their_time (expiry),
                c15_what_is_due_is_gone_before_the_first_answer_after_a_reopen (persistent_expiry),
                c15_what_is_left_of_a_life_is_told (expiry),
                c15_what_was_removed_stays_removed (persistent_expiry),
            }
            watch {
                c12_c16_close_ends_watches_with_closed (watch),
                c15_c16_a_removal_is_told_as_an_expiry (expiry_watch),
                c16_a_scan_and_a_watch_from_its_version_miss_nothing (watch),
                c16_a_slow_watcher_is_ended_and_told_so (watch),
                c16_a_slow_watcher_sees_no_gap (watch),
                c16_a_start_before_the_history_is_refused_with_the_oldest (watch),
                c16_a_start_beyond_the_present_is_refused (watch),
                c16_a_watch_from_an_earlier_version_tells_what_came_since (watch),
                c16_a_watch_from_now_on_tells_nothing_earlier (watch),
                c16_a_watch_over_a_reopen_misses_nothing_or_is_told (watch),
                c16_a_watch_tells_each_commit_as_it_is (watch),
                c16_a_watch_tells_its_range_alone (watch),
                c16_a_watch_too_many_is_refused_until_one_is_dropped (watch),
                c16_c19_a_restore_ends_watches (watch_restore),
                c16_progress_is_told_to_an_idle_watcher (watch),
                c16_progress_too_often_or_too_seldom_is_refused (watch),
                c16_the_history_forgets_what_is_old (watch),
                c16_watches_among_many_writers_miss_and_repeat_nothing (watch),
                c16_what_changes_nothing_is_not_told (watch),
                c16_what_is_left_out_of_what_was_there_is_said_to_be (watch),
                c16_what_is_told_is_committed (watch),
                c16_what_was_there_before_is_told_to_whoever_asks (watch),
            }
            sessions {
                c15_c17_a_number_given_to_another_life_is_refused (expiry_sessions),
                c17_a_committed_write_is_remembered_over_reopens_and_crashes (persistent_sessions),
                c17_a_conflict_is_not_judged_again (sessions),
                c17_a_conflict_told_again_carries_what_it_met (sessions),
                c17_a_counter_with_random_duplicates_is_exact (sessions),
                c17_a_level_asked_later_is_reached (sessions),
                c17_a_number_given_to_another_batch_is_refused (sessions),
                c17_a_number_outside_the_window_is_never_executed (sessions),
                c17_a_refused_write_executes_nothing (sessions),
                c17_a_session_is_as_declared (sessions),
                c17_a_session_too_many_is_refused_until_one_is_ended (sessions),
                c17_a_write_of_an_ended_session_is_never_executed (sessions),
                c17_a_write_of_an_unknown_session_is_never_executed (sessions),
                c17_a_write_that_arrives_again_is_applied_once (sessions),
                c17_a_write_that_changed_nothing_is_not_judged_again (sessions),
                c17_acknowledging_frees_what_is_remembered (sessions),
                c17_an_arrival_meant_for_another_life_does_nothing (sessions),
                c17_an_ended_session_stays_ended_over_reopens_and_crashes (persistent_sessions),
                c17_an_idle_session_is_ended (sessions),
                c17_c20_arrivals_of_a_waiting_write_are_one_write (sessions_blocking),
                c17_many_arrivals_at_once_are_one_write (sessions),
                c17_no_id_and_no_life_is_given_twice (sessions),
                c17_numbers_may_come_in_any_order (sessions),
                c17_settling_among_arrivals_agrees_with_them (sessions),
                c17_settling_tells_the_first_outcome (sessions),
                c17_the_same_number_in_two_sessions_is_two_writes (sessions),
                c17_what_is_settled_as_not_executed_never_is (sessions),
            }
            blocking {
                c12_c20_close_answers_those_who_wait (blocking),
                c15_c20_a_removal_wakes_those_who_wait_for_it (expiry_blocking),
                c20_a_lock_has_one_owner_at_a_time (blocking),
                c20_a_wait_too_many_is_refused_until_one_is_over (blocking),
                c20_a_write_is_applied_when_its_condition_holds (blocking),
                c20_a_write_that_waited_wakes_the_next (blocking),
                c20_a_write_whose_conditions_hold_does_not_wait (blocking),
                c20_all_conditions_hold_at_once (blocking),
                c20_first_come_first_served (blocking),
                c20_nobody_is_held_up_by_those_who_wait (blocking),
                c20_what_can_never_hold_again_is_answered_at_once (blocking),
                c20_when_the_time_is_over_the_answer_is_the_conflict (blocking),
                c20_whoever_waits_comes_before_whoever_comes_later (blocking),
            }
            model {
                c01_c03_c04_c06_c07_c08_random_sequences_agree_with_the_model,
                c02_c05_c09_random_sequences_with_crashes_agree_with_the_model (persistent),
                c05_c12_random_sequences_with_reopens_agree_with_the_model,
            }
        }
    };
}

/// Runs the whole suite: one `#[test]` for each case, in a module for its group. The argument is an
/// expression for a [`Harness`](crate::conformance::Harness), made anew for each case.
#[macro_export]
macro_rules! conformance_suite {
    ($harness:expr) => {
        $crate::conformance_cases! { [$crate::__conformance_tests] [$harness] }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    ([$harness:expr] $($group:ident { $($case:ident $(($need:ident))?),* $(,)? })*) => {
        $(mod $group {
            #[allow(unused_imports, clippy::wildcard_imports)]
            use super::*;

            $(#[test]
            fn $case() {
                $crate::conformance::run(stringify!($case), $harness);
            })*
        })*
    };
}

macro_rules! registry {
    (@group core) => { Group::Core };
    (@group batch) => { Group::Batch };
    (@group scan) => { Group::Scan };
    (@group concurrency) => { Group::Concurrency };
    (@group durability) => { Group::Durability };
    (@group limits) => { Group::Limits };
    (@group lifecycle) => { Group::Lifecycle };
    (@group restore) => { Group::Restore };
    (@group expiry) => { Group::Expiry };
    (@group watch) => { Group::Watch };
    (@group sessions) => { Group::Sessions };
    (@group blocking) => { Group::Blocking };
    (@group power) => { Group::Power };
    (@group model) => { Group::Model };
    (@need) => { None };
    (@need persistent) => { Some(Need::Persistent) };
    (@need volatile) => { Some(Need::Volatile) };
    (@need directory) => { Some(Need::Directory) };
    (@need synced) => { Some(Need::Synced) };
    (@need below_synced) => { Some(Need::BelowSynced) };
    (@need no_expiry) => { Some(Need::NoExpiry) };
    (@need no_watch) => { Some(Need::NoWatch) };
    (@need no_sessions) => { Some(Need::NoSessions) };
    (@need no_restore) => { Some(Need::NoRestore) };
    (@need restore) => { Some(Need::Restore) };
    (@need persistent_restore) => { Some(Need::PersistentRestore) };
    (@need no_blocking) => { Some(Need::NoBlocking) };
    (@need expiry) => { Some(Need::Expiry) };
    (@need persistent_expiry) => { Some(Need::PersistentExpiry) };
    (@need expiry_restore) => { Some(Need::ExpiryRestore) };
    (@need expiry_watch) => { Some(Need::ExpiryWatch) };
    (@need expiry_sessions) => { Some(Need::ExpirySessions) };
    (@need expiry_blocking) => { Some(Need::ExpiryBlocking) };
    (@need watch) => { Some(Need::Watch) };
    (@need watch_restore) => { Some(Need::WatchRestore) };
    (@need sessions) => { Some(Need::Sessions) };
    (@need persistent_sessions) => { Some(Need::PersistentSessions) };
    (@need sessions_blocking) => { Some(Need::SessionsBlocking) };
    (@need blocking) => { Some(Need::Blocking) };
    ([] $($group:ident { $($case:ident $(($need:ident))?),* $(,)? })*) => {
        &[$($(Case {
            name: stringify!($case),
            group: registry!(@group $group),
            need: registry!(@need $($need)?),
            body: |context| Box::pin($case(context)),
        },)*)*]
    };
}

/// Hands the list of the cases that cut the power to a macro, as `conformance_cases!` does with the others.
#[macro_export]
macro_rules! power_cut_cases {
    ([$($callback:tt)+] [$($arguments:tt)*]) => {
        $($callback)+! { [$($arguments)*]
            power {
                c02_c09_what_survives_a_power_cut_is_a_prefix_of_the_commits (synced),
                c05_a_version_that_a_power_cut_took_away_is_not_given_again (synced),
                c09_c10_a_power_cut_among_writers_takes_nothing_that_was_answered (synced),
                c09_what_was_answered_as_synced_survives_a_power_cut (synced),
            }
        }
    };
}

/// Runs the cases that cut the power, as [`conformance_suite!`](crate::conformance_suite) runs the others.
#[macro_export]
macro_rules! power_cut_suite {
    ($harness:expr) => {
        $crate::power_cut_cases! { [$crate::__conformance_tests] [$harness] }
    };
}

pub(super) static POWER_CUTS: &[Case] = power_cut_cases! { [registry] [] };

pub(super) static CASES: &[Case] = conformance_cases! { [registry] [] };
