use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;

use rdb_client::StoreIdentity;
use rdb_engine_api::{Error, ErrorKind, Result};

/// The file of a data directory that says whose its data is. A store's: `cluster=` and `store=`, or, before the
/// placement driver has answered, `token=`. A placement driver's: `placement_driver=` and its cluster.
const NAME: &str = "FLAREDB.store";

/// A store that nobody knows yet.
pub(crate) fn new_store() -> StoreIdentity {
    StoreIdentity::New { token: rand::random::<u64>().max(1) }
}

/// Whose data a directory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Store(StoreIdentity),
    Driver { cluster_id: u64 },
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

    /// What is kept, if anything is. A placement driver's directory is refused.
    pub(crate) fn read(&self) -> Result<Option<StoreIdentity>> {
        match self.owner()? {
            None => Ok(None),
            Some(Owner::Store(identity)) => Ok(Some(identity)),
            Some(Owner::Driver { cluster_id }) => {
                let message = "data directory is a placement driver's; a node needs one of its own";
                Err(Error::new(ErrorKind::InvalidArgument, message)
                    .with("path", self.directory.display())
                    .with("cluster", cluster_id))
            }
        }
    }

    /// Keeps an identity.
    pub(crate) fn write(&self, identity: StoreIdentity) -> Result<()> {
        self.keep(Owner::Store(identity))
    }

    fn owner(&self) -> Result<Option<Owner>> {
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
            [("token", token)] => Ok(Some(Owner::Store(StoreIdentity::New { token }))),
            [("cluster", cluster_id), ("store", store_id)] => {
                Ok(Some(Owner::Store(StoreIdentity::Member { cluster_id, store_id })))
            }
            [("placement_driver", cluster_id)] => Ok(Some(Owner::Driver { cluster_id })),
            _ => Err(damaged()),
        }
    }

    /// Written beside its place, synced and renamed, so that a crash leaves the old one or the new one whole.
    fn keep(&self, owner: Owner) -> Result<()> {
        let text = match owner {
            Owner::Store(StoreIdentity::New { token }) => format!("token={token}\n"),
            Owner::Store(StoreIdentity::Member { cluster_id, store_id }) => {
                format!("cluster={cluster_id}\nstore={store_id}\n")
            }
            Owner::Driver { cluster_id } => format!("placement_driver={cluster_id}\n"),
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

/// A data directory that a placement driver may use: it is not a node's.
///
/// An engine does not know whose data it holds, and a node serves whatever its engine has: it would hand the
/// placement driver's state to its clients. So the directory itself says whose it is.
#[derive(Debug)]
pub struct DriverDirectory(IdentityFile);

impl DriverDirectory {
    /// Looks at a data directory, which its engine has made and holds.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) where it is a node's; [`Corrupt`](ErrorKind::Corrupt) where
    /// what it says makes no sense. Nothing is changed.
    pub fn new(directory: PathBuf) -> Result<Self> {
        let file = IdentityFile::of(directory);
        if let Some(Owner::Store(_)) = file.owner()? {
            let message = "data directory is a node's; a placement driver needs one of its own";
            return Err(
                Error::new(ErrorKind::InvalidArgument, message).with("path", file.directory.display())
            );
        }
        Ok(Self(file))
    }

    /// Notes that it is the placement driver's of this cluster: from then on no node takes it.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable) where that cannot be written.
    pub fn keep(&self, cluster_id: u64) -> Result<()> {
        let owner = Owner::Driver { cluster_id };
        if self.0.owner()? == Some(owner) {
            return Ok(());
        }
        self.0.keep(owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_a_nodes_or_a_placement_drivers_and_stays_what_it_is() {
        let (node, driver) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        IdentityFile::of(node.path().to_owned()).read_or_begin().unwrap();
        let ours = DriverDirectory::new(driver.path().to_owned()).unwrap();
        ours.keep(7).unwrap();
        ours.keep(7).unwrap();
        for _ in 0..2 {
            let error = DriverDirectory::new(node.path().to_owned()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            let file = IdentityFile::of(driver.path().to_owned());
            assert_eq!(file.read().unwrap_err().kind(), ErrorKind::InvalidArgument);
            assert_eq!(file.read_or_begin().unwrap_err().kind(), ErrorKind::InvalidArgument);
        }
        DriverDirectory::new(driver.path().to_owned()).unwrap();
    }

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
        for damage in [
            "",
            "cluster=1\n",
            "store=1\ncluster=2\n",
            "cluster=0\nstore=1\n",
            "token=x\n",
            "token=0\n",
            "placement_driver=0\n",
        ] {
            fs::write(&path, damage).unwrap();
            assert_eq!(file.read_or_begin().unwrap_err().kind(), ErrorKind::Corrupt, "{damage}");
            assert_eq!(fs::read_to_string(&path).unwrap(), damage);
        }
    }
}
