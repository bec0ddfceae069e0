use rdb_client::Key;

/// The keys of a batch. In order, which those of an export and of most files are already, they are compared
/// with those of another batch by their ends alone.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<Key>);

impl Keys {
    pub(super) fn push(&mut self, key: Key) {
        self.0.push(key);
    }

    /// To be called before any comparison.
    pub(super) fn sort(&mut self) {
        // One pass where they are in order.
        self.0.sort();
    }

    /// Whether there is a key in both.
    pub(super) fn meet(&self, other: &Self) -> bool {
        let (mut ours, mut others) = (&self.0[..], &other.0[..]);
        // Whatever lies before the other's first key is none of the other's.
        while let (Some(our), Some(their)) = (ours.first(), others.first()) {
            if our == their {
                return true;
            }
            (ours, others) = match our < their {
                true => (&ours[ours.partition_point(|key| key < their)..], others),
                false => (ours, &others[others.partition_point(|key| key < our)..]),
            };
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(names: &str) -> Keys {
        let mut keys = Keys::default();
        names.bytes().for_each(|name| keys.push(Key::new(vec![name]).unwrap()));
        keys.sort();
        keys
    }

    #[test]
    fn batches_meet_where_they_share_a_key() {
        for (ours, others, meet) in [
            ("", "", false),
            ("a", "", false),
            ("abc", "def", false),
            ("def", "abc", false),
            ("ace", "bdf", false),
            ("az", "bcd", false),
            ("bcd", "az", false),
            ("abc", "c", true),
            ("c", "abc", true),
            ("eca", "fbe", true),
            ("aacc", "bbc", true),
        ] {
            assert_eq!(keys(ours).meet(&keys(others)), meet, "{ours} and {others}");
            assert_eq!(keys(others).meet(&keys(ours)), meet, "{others} and {ours}");
        }
    }
}
