use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;

use rdb_client::StoreIdentity;
use rdb_engine_api::{Error, ErrorKind, Result};

/// The file of a data directory that says which store of which cluster its data is: `cluster=` and `store=`, or,
/// before the placement driver has answered, `token=`.
const NAME: &str = "FLAREDB.store";

/// A store that nobody knows yet.
pub(crate) fn new_store() -> StoreIdentity {
    StoreIdentity::New { token: rand::random::<u64>().max(1) }
}

/// Where a store's identity is kept.
#[derive(Debug)]
pub(crate) struct IdentityFile {
    directory: PathBuf,
}

impl IdentityFile {
    /// That of a data directory, which its engine has made and holds.
    pub(crate) fn of(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// What is kept; where nothing is, a new token that is kept before anyone is told, so that however often it
    /// is sent, by this process or the next, it makes one store.
    pub(crate) fn read_or_begin(&self) -> Result<StoreIdentity> {
        match self.read()? {
            Some(identity) => Ok(identity),
            None => {
                let identity = new_store();
                self.write(identity)?;
                Ok(identity)
            }
        }
    }

    /// What is kept, if anything is.
    pub(crate) fn read(&self) -> Result<Option<StoreIdentity>> {
        let path = self.directory.join(NAME);
        let damaged = || {
            Error::new(ErrorKind::Corrupt, "note of the cluster that the data belongs to is damaged")
                .with("path", path.display())
        };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(damaged()),
            Err(error) => {
                let message = "cannot read the note of the cluster that the data belongs to";
                return Err(Error::new(ErrorKind::Unavailable, message)
                    .with("path", path.display())
                    .because(error));
            }
        };
        let lines: Option<Vec<(&str, u64)>> = text
            .lines()
            .map(|line| {
                let (name, number) = line.split_once('=')?;
                Some((name, number.parse().ok().filter(|number| *number != 0)?))
            })
            .collect();
        match lines.ok_or_else(damaged)?[..] {
            [("token", token)] => Ok(Some(StoreIdentity::New { token })),
            [("cluster", cluster), ("store", store)] => {
                Ok(Some(StoreIdentity::Member { cluster_id: cluster, store_id: store }))
            }
            _ => Err(damaged()),
        }
    }

    /// Keeps an identity. Written beside its place, synced and renamed, so that a crash leaves the old one or the
    /// new one whole.
    pub(crate) fn write(&self, identity: StoreIdentity) -> Result<()> {
        let text = match identity {
            StoreIdentity::New { token } => format!("token={token}\n"),
            StoreIdentity::Member { cluster_id, store_id } => {
                format!("cluster={cluster_id}\nstore={store_id}\n")
            }
        };
        let write = || {
            let draft = self.directory.join(format!("{NAME}.new"));
            let mut file = File::create(&draft)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&draft, self.directory.join(NAME))?;
            File::open(&self.directory)?.sync_all()
        };
        write().map_err(|error| {
            let message = "cannot note the cluster that the data belongs to";
            Error::new(ErrorKind::Unavailable, message).with("path", self.directory.display()).because(error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_kept_until_the_store_is_a_member_and_that_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let file = || IdentityFile::of(directory.path().to_owned());
        assert_eq!(file().read().unwrap(), None);
        let begun = file().read_or_begin().unwrap();
        assert!(matches!(begun, StoreIdentity::New { token } if token != 0));
        assert_eq!(file().read_or_begin().unwrap(), begun);
        let member = StoreIdentity::Member { cluster_id: u64::MAX, store_id: 7 };
        file().write(member).unwrap();
        assert_eq!(file().read_or_begin().unwrap(), member);
    }

    #[test]
    fn a_damaged_note_is_corrupt_and_stays_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let file = IdentityFile::of(directory.path().to_owned());
        let path = directory.path().join(NAME);
        for damage in
            ["", "cluster=1\n", "store=1\ncluster=2\n", "cluster=0\nstore=1\n", "token=x\n", "token=0\n"]
        {
            fs::write(&path, damage).unwrap();
            assert_eq!(file.read_or_begin().unwrap_err().kind(), ErrorKind::Corrupt, "{damage}");
            assert_eq!(fs::read_to_string(&path).unwrap(), damage);
        }
    }
}
