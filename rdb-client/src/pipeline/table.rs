use std::sync::Arc;

use super::command::Command;

/// The most commands of one stream that are not answered: as many as the unary requests that a node lets
/// share a connection.
pub(super) const MAX_DEPARTED: usize = 1024;

/// How far a number is shifted that counts the commands, above the place in the table.
const PLACE_BITS: u32 = 10;

/// The commands that departed over a stream and are not answered, by number.
#[derive(Debug, Default)]
pub(super) struct Table {
    places: Vec<Option<Arc<Command>>>,
    free: Vec<usize>,
    count: u64,
}

impl Table {
    pub(super) const fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(super) const fn is_full(&self) -> bool {
        self.len() >= MAX_DEPARTED
    }

    /// A number that no command of this stream had before, so that an answer that comes twice meets nobody.
    pub(super) fn insert(&mut self, command: &Arc<Command>, heard: u64) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.count += 1;
        command.departs(self.count << PLACE_BITS | place as u64, heard);
        self.places[place] = Some(Arc::clone(command));
    }

    pub(super) fn has(&self, command: &Arc<Command>) -> bool {
        let slot = self.places.get(place(command.number()));
        slot.is_some_and(|slot| slot.as_ref().is_some_and(|its| Arc::ptr_eq(its, command)))
    }

    /// The command of this number, which is answered.
    pub(super) fn remove(&mut self, number: u64) -> Option<Arc<Command>> {
        let place = place(number);
        let command = self.places.get_mut(place)?.take_if(|command| command.number() == number)?;
        self.free.push(place);
        Some(command)
    }

    /// Whether nobody waits for an answer any more: those who did have let go of their commands.
    pub(super) fn is_abandoned(&self) -> bool {
        self.places.iter().flatten().all(|command| Arc::strong_count(command) == 1)
    }

    /// The commands whose answers will not come.
    pub(super) fn into_commands(self) -> impl Iterator<Item = Arc<Command>> {
        self.places.into_iter().flatten()
    }
}

fn place(number: u64) -> usize {
    usize::try_from(number & ((1 << PLACE_BITS) - 1)).unwrap_or(usize::MAX)
}

const _: () = assert!(MAX_DEPARTED <= 1 << PLACE_BITS);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rdb_proto::kv::v1::{TimeRequest, command::Request};

    use super::*;
    use crate::call::Deadline;
    use crate::request::Id;

    fn command() -> Arc<Command> {
        let deadline = Deadline::after(Duration::from_secs(1));
        Arc::new(Command::new(Request::Time(TimeRequest {}), 2, deadline, Id::next()))
    }

    #[test]
    fn a_number_is_never_given_again_though_its_place_is() {
        let mut table = Table::default();
        let (first, second) = (command(), command());
        table.insert(&first, 0);
        assert!(table.has(&first) && !table.has(&second));
        let number = first.number();
        assert!(Arc::ptr_eq(&table.remove(number).unwrap(), &first));
        table.insert(&second, 0);
        assert!(table.remove(number).is_none(), "an answer that comes twice");
        assert!(table.has(&second) && !table.has(&first));
        assert_eq!(table.len(), 1);
        assert_ne!(second.number(), number);
        assert!(table.remove(u64::MAX).is_none());
    }

    #[test]
    fn a_table_is_full_and_abandoned_when_it_says_so() {
        let mut table = Table::default();
        let commands: Vec<_> = (0..MAX_DEPARTED).map(|_| command()).collect();
        for command in &commands {
            assert!(!table.is_full());
            table.insert(command, 0);
        }
        assert!(table.is_full() && !table.is_abandoned());
        let number = commands[7].number();
        drop(commands);
        assert!(table.is_abandoned());
        table.remove(number).unwrap();
        assert_eq!((table.is_full(), table.len()), (false, MAX_DEPARTED - 1));
        assert_eq!(table.into_commands().count(), MAX_DEPARTED - 1);
    }
}
