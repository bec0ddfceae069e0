use rdb_engine_api::{Metric, MetricUnit, MetricValue};

use crate::tree::Tree;
use crate::views::Views;

/// What an operator may want to know of a store on sled. Waits neither for a commit nor for the disk.
pub(crate) fn of(tree: &Tree, views: &Views, garbage: usize) -> Vec<Metric> {
    let (open, behind) = views.age();
    let mut metrics = vec![
        Metric::gauge(
            "sled_garbage",
            "Entries in the queue of versions that nobody will ask for, up to 64 versions each, \
             of which a view may hold some back",
            garbage as f64,
        ),
        Metric::gauge("sled_views", "Views open now: scans, and reads under way", open as f64),
        Metric::gauge(
            "sled_oldest_view_commits",
            "Commits since the oldest open view: what they replaced is kept for it",
            behind as f64,
        ),
    ];
    // A database that has failed cannot tell any more.
    if let Ok(bytes) = tree.size_on_disk() {
        let metric = Metric::new("sled_disk", "Bytes of sled's files", MetricValue::Gauge(bytes as f64));
        metrics.push(metric.in_unit(MetricUnit::Bytes));
    }
    metrics
}
