use rdb_client::{Pd, Store};
use serde_json::json;

use crate::failure::Failure;
use crate::output::{Output, Print};
use crate::people::for_people;

const TITLES: [&str; 7] = ["ID", "ADDRESS", "STATE", "HEARD", "ENGINE", "VOLATILE", "VERSION"];

/// Shows the stores of the cluster.
pub(crate) async fn stores(pd: &Pd, out: &mut Output) -> Result<(), Failure> {
    let stores = pd.stores().await?;
    match out.print {
        Print::Json => stores.iter().try_for_each(|store| json(store, pd.cluster_id(), out)),
        Print::Raw => stores.iter().try_for_each(|store| out.line(&cells(store, silent_ms).join("\t"))),
        Print::Table => {
            let mut rows = vec![TITLES.map(str::to_owned)];
            rows.extend(stores.iter().map(|store| cells(store, for_people_heard)));
            let widths: [usize; TITLES.len()] = std::array::from_fn(|column| {
                rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
            });
            rows.iter().try_for_each(|row| {
                let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
                out.line(cells.collect::<Vec<_>>().join("  ").trim_end())
            })
        }
    }
}

fn cells(store: &Store, heard: fn(&Store) -> String) -> [String; TITLES.len()] {
    let volatile = if store.info.is_volatile { "yes" } else { "no" };
    [
        store.id.to_string(),
        store.info.address.clone(),
        store.state.to_string(),
        heard(store),
        store.info.engine.clone(),
        volatile.to_owned(),
        store.info.server_version.clone(),
    ]
}

/// Milliseconds since the last heartbeat; nothing where there was none.
fn silent_ms(store: &Store) -> String {
    store.silent_for.map(|silent| silent.as_millis().to_string()).unwrap_or_default()
}

fn for_people_heard(store: &Store) -> String {
    match store.silent_for {
        Some(silent) => format!("{} ago", for_people("_ms", &json!(silent.as_millis() as u64)).1),
        None => "never".to_owned(),
    }
}

fn json(store: &Store, cluster_id: u64, out: &mut Output) -> Result<(), Failure> {
    out.json(&json!({
        "store_id": store.id,
        "cluster_id": cluster_id,
        "address": store.info.address,
        "state": store.state.to_string(),
        "silent_ms": store.silent_for.map(|silent| silent.as_millis() as u64),
        "engine": store.info.engine,
        "volatile": store.info.is_volatile,
        "server_version": store.info.server_version,
    }))
}
