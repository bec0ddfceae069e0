use rdb_engine_api::{Batch, Condition, Error, ErrorKind, Result};

use crate::rows::{FORMAT, Name, decode_format, decode_number, encode_format, encode_number, senseless};
use crate::table::Table;

/// How often making a cluster is tried that another driver, or an unknown outcome, has got in the way of.
const TRIES: usize = 8;

/// Returns the id of the cluster whose state the table holds, and makes the cluster where there is none: its id
/// is drawn at random, once.
///
/// # Errors
/// [`InvalidArgument`](ErrorKind::InvalidArgument) for state of an unknown format, and for an engine that holds
/// something else; [`Corrupt`](ErrorKind::Corrupt) for state that makes no sense; what reading and writing report.
pub(crate) async fn open(table: &Table) -> Result<u64> {
    let mut last = None;
    for _ in 0..TRIES {
        match table.get_two([Name::Format, Name::Cluster]).await? {
            [Some(format), cluster] => {
                let format = decode_format(&format.value)?;
                if format != FORMAT {
                    return Err(Error::new(
                        ErrorKind::InvalidArgument,
                        "placement driver's state has a format that this version does not know",
                    )
                    .with("format", format)
                    .with("known", FORMAT));
                }
                return decode_number(&cluster.ok_or_else(|| senseless("cluster"))?.value, "cluster");
            }
            [None, Some(_)] => return Err(senseless("format")),
            [None, None] => {}
        }
        if !table.is_engine_empty().await? {
            // Met by whoever names a node's data directory. One that has been made meanwhile is read next time.
            if table.get(Name::Format).await?.is_some() {
                continue;
            }
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "engine holds something else; a placement driver needs one of its own",
            ));
        }
        let (format, cluster, ids) = (Name::Format.key()?, Name::Cluster.key()?, Name::Ids.key()?);
        let batch = Batch::new()
            .when(format.clone(), Condition::Absent)
            .put(format, encode_format())
            .put(cluster, encode_number(draw()))
            .put(ids, encode_number(1));
        // Whatever became of it, what is there then is the cluster.
        match table.write(batch).await {
            Ok(_) => {}
            Err(error) if error.may_have_been_applied() => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(last.unwrap_or_else(|| Error::new(ErrorKind::Internal, "engine does not keep what was written")))
}

/// A number that is not 0.
pub(crate) fn draw() -> u64 {
    rand::random_range(1..=u64::MAX)
}
