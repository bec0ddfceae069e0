use rdb_client::{Pd, Timestamp};
use serde_json::json;

use crate::failure::Failure;
use crate::output::{Output, Print};

/// The most that one question may ask for.
const MOST: u64 = 1 << 18;

/// Get timestamps from the placement driver, each greater than all before
///
/// A timestamp is 46 bits of milliseconds since 1970, then 18 bits that count within the millisecond: shown
/// are the number, the time, and the count.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  rdb tso --pd 127.0.0.1:7430 --count 3")]
pub(crate) struct Tso {
    /// How many
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
}

/// Shows timestamps.
pub(crate) async fn tso(pd: &Pd, args: &Tso, out: &mut Output) -> Result<(), Failure> {
    if out.print == Print::Table {
        out.line(&format!("{:<20}{:<26}LOGICAL", "TIMESTAMP", "TIME"))?;
    }
    let mut left = args.count;
    while left > 0 {
        let stamps = pd.timestamps(left.min(MOST) as u32).await?;
        left -= stamps.len() as u64;
        for stamp in stamps {
            show(stamp, out)?;
        }
    }
    Ok(())
}

fn show(stamp: Timestamp, out: &mut Output) -> Result<(), Failure> {
    let (number, time, logical) = (stamp.get(), stamp.rfc3339(), stamp.logical());
    match out.print {
        Print::Table => out.line(&format!("{number:<20}{time:<26}{logical}")),
        Print::Raw => out.line(&format!("{number}\t{time}\t{logical}")),
        Print::Json => out.json(&json!({
            "timestamp": number,
            "time": time,
            "physical_ms": stamp.physical_ms(),
            "logical": logical,
        })),
    }
}
