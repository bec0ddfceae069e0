use rdb_engine_api::ErrorKind;

/// What to do after an attempt that brought no outcome: the table of the [module](super).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Do the same again.
    Again,
    /// Ask for the session first, then do the same again.
    Resume,
    /// Sending is of no use any more: ask what became of the number.
    Settle,
    /// The application is told this error: nothing was applied, and nothing will be.
    Tell,
    /// Nobody knows any more what became of the write.
    Forgotten,
}

/// After a send. `maybe`: an attempt before this one may have been executed.
pub(super) const fn after_send(kind: ErrorKind, maybe: bool) -> Verdict {
    match (kind, maybe) {
        (ErrorKind::Unknown | ErrorKind::Stale, _) => Verdict::Resume,
        (ErrorKind::Unavailable, _) | (ErrorKind::Exhausted | ErrorKind::Closed, true) => Verdict::Again,
        (_, true) => Verdict::Settle,
        (_, false) => Verdict::Tell,
    }
}

/// After opening or resuming a session failed, which says nothing of the write.
pub(super) const fn after_session(kind: ErrorKind, maybe: bool) -> Verdict {
    match (kind, maybe) {
        (ErrorKind::Unavailable, _) | (_, true) => Verdict::Again,
        (_, false) => Verdict::Tell,
    }
}

/// After settling failed, which is asked only where an attempt may have been executed.
pub(super) const fn after_settle(kind: ErrorKind) -> Verdict {
    match kind {
        ErrorKind::Unknown => Verdict::Forgotten,
        ErrorKind::Stale => Verdict::Resume,
        _ => Verdict::Again,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_executed_is_never_told_to_be_not_applied() {
        for kind in ErrorKind::ALL {
            for verdict in [after_send(kind, true), after_session(kind, true), after_settle(kind)] {
                assert_ne!(verdict, Verdict::Tell, "{kind}");
            }
        }
    }

    #[test]
    fn every_answer_to_a_send_has_its_row_in_the_table() {
        use ErrorKind as Kind;
        for (kind, first, later) in [
            (Kind::InvalidArgument, Verdict::Tell, Verdict::Settle),
            (Kind::Unsupported, Verdict::Tell, Verdict::Settle),
            (Kind::Unavailable, Verdict::Again, Verdict::Again),
            (Kind::Unknown, Verdict::Resume, Verdict::Resume),
            (Kind::Exhausted, Verdict::Tell, Verdict::Again),
            (Kind::Corrupt, Verdict::Tell, Verdict::Settle),
            (Kind::Closed, Verdict::Tell, Verdict::Again),
            (Kind::Internal, Verdict::Tell, Verdict::Settle),
            (Kind::Compacted, Verdict::Tell, Verdict::Settle),
            (Kind::Stale, Verdict::Resume, Verdict::Resume),
        ] {
            assert_eq!((after_send(kind, false), after_send(kind, true)), (first, later), "{kind}");
        }
    }
}
