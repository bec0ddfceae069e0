use std::io;

use rdb_client::{Error, ErrorKind};

/// How a command ended, as its exit code tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Ok,
    Error,
    Usage,
    NotFound,
    Conflict,
    Unavailable,
    Interrupted,
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
            Self::Interrupted => 130,
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

    #[cfg(test)]
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
            ErrorKind::Unknown => format!("outcome unknown, the write may have been applied: {report}"),
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
            Exit::Interrupted,
        ];
        assert_eq!(exits.map(Exit::code), [0, 1, 2, 3, 4, 5, 130]);
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
        let unknown = Failure::from(Error::new(ErrorKind::Unknown, "no answer"));
        assert!(unknown.message().contains("may have been applied"));
    }

    #[test]
    fn a_reader_who_has_read_enough_is_no_failure() {
        let failure = Failure::output(&io::ErrorKind::BrokenPipe.into());
        assert_eq!((failure.exit(), failure.message()), (Exit::Ok, ""));
        assert_eq!(Failure::output(&io::ErrorKind::StorageFull.into()).exit(), Exit::Error);
    }
}
