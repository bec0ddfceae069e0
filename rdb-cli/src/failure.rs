use std::io;

use rdb_client::{Error, ErrorKind};

/// What an unknown outcome means.
const MAY_BE: &str = "may have been applied";

/// How a command ended, as its exit code tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Ok,
    Error,
    Usage,
    NotFound,
    Conflict,
    Unavailable,
    HungUp,
    Interrupted,
    Terminated,
}

impl Exit {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Error => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Conflict => 4,
            Self::Unavailable => 5,
            // As shells have it: 128 and the signal.
            Self::HungUp => 129,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

/// Why a command did not end well, and what to say about it.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    /// Empty where the result says it all.
    message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// What cannot be read, written or started.
    pub(crate) fn io(what: &str, error: &io::Error) -> Self {
        Self::new(Exit::Error, format!("{what}: {error}"))
    }

    /// What kept the client from connecting: an endpoint that is none, or no node where it points.
    pub(crate) fn connect(error: Error) -> Self {
        match error.kind() {
            ErrorKind::InvalidArgument => Self::new(Exit::Usage, error.report()),
            ErrorKind::Unsupported => Self::new(Exit::Unavailable, error.report()),
            _ => Self { exit: Exit::Unavailable, ..Self::from(error) },
        }
    }

    /// Standard output cannot be written. A reader who has read enough is no failure.
    pub(crate) fn output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Exit::Ok, ""),
            _ => Self::io("cannot write the result", error),
        }
    }

    /// Says first where it happened.
    #[must_use]
    pub(crate) fn at(mut self, place: &str) -> Self {
        if !self.message.is_empty() {
            self.message = format!("{place}: {}", self.message);
        }
        self
    }

    /// Says besides what else is to be known.
    #[must_use]
    pub(crate) fn note(mut self, note: &str) -> Self {
        if !self.message.is_empty() {
            self.message.push('\n');
        }
        self.message.push_str(note);
        self
    }

    #[cfg(test)]
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// What there is to say.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Tells it on standard error.
    pub(crate) fn report(self) -> Exit {
        if !self.message.is_empty() {
            eprintln!("rdb: {}", self.message);
        }
        self.exit
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match error.kind() {
            ErrorKind::Unavailable | ErrorKind::Unknown | ErrorKind::Closed => Exit::Unavailable,
            _ => Exit::Error,
        };
        let report = error.report();
        let message = match error.kind() {
            // Some messages say it themselves.
            ErrorKind::Unknown if report.contains(MAY_BE) => format!("outcome unknown: {report}"),
            ErrorKind::Unknown => format!("outcome unknown, the write {MAY_BE}: {report}"),
            kind => format!("{kind}: {report}"),
        };
        Self { exit, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_has_its_code() {
        let exits = [
            Exit::Ok,
            Exit::Error,
            Exit::Usage,
            Exit::NotFound,
            Exit::Conflict,
            Exit::Unavailable,
            Exit::HungUp,
            Exit::Interrupted,
            Exit::Terminated,
        ];
        assert_eq!(exits.map(Exit::code), [0, 1, 2, 3, 4, 5, 129, 130, 143]);
    }

    #[test]
    fn a_node_that_does_not_answer_and_an_unknown_outcome_are_code_5() {
        for kind in ErrorKind::ALL {
            let expected = match kind {
                ErrorKind::Unavailable | ErrorKind::Unknown | ErrorKind::Closed => Exit::Unavailable,
                _ => Exit::Error,
            };
            assert_eq!(Failure::from(Error::new(kind, "no")).exit(), expected, "{kind}");
        }
    }

    #[test]
    fn an_unknown_outcome_says_once_that_the_write_may_have_been_applied() {
        for message in ["no answer", "no answer; the write may have been applied"] {
            let unknown = Failure::from(Error::new(ErrorKind::Unknown, message));
            assert!(unknown.message().starts_with("outcome unknown"), "{}", unknown.message());
            assert_eq!(unknown.message().matches(MAY_BE).count(), 1, "{}", unknown.message());
        }
    }

    #[test]
    fn a_reader_who_has_read_enough_is_no_failure() {
        let failure = Failure::output(&io::ErrorKind::BrokenPipe.into());
        assert_eq!((failure.exit(), failure.message()), (Exit::Ok, ""));
        assert_eq!(Failure::output(&io::ErrorKind::StorageFull.into()).exit(), Exit::Error);
    }
}
