//! The text of `/metrics`, in the form that the scraper asks for.

use std::fmt::Write as _;

use hyper::HeaderMap;
use hyper::header::ACCEPT;
use prometheus_client::encoding::text;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use rdb_engine_api::{Error, ErrorKind, Result};

use crate::process_metrics::ProcessMetrics;
use crate::state::{Readiness, State};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The text and its content type: OpenMetrics for who accepts it, else the older text format of Prometheus, which
/// everyone reads.
pub(crate) fn scrape(headers: &HeaderMap, state: &State) -> Result<(String, &'static str)> {
    let mut metrics = String::new();
    text::encode_registry(&mut metrics, &standing(state))
        .map_err(|error| Error::new(ErrorKind::Internal, "cannot encode metrics").because(error))?;
    metrics.push_str(&state.metrics.text()?);
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    if accepted.into_iter().any(|accepted| accepted.contains("application/openmetrics-text")) {
        return Ok((metrics, OPENMETRICS));
    }
    Ok((classic(&metrics), CLASSIC))
}

/// What nobody counts: the process, and whether requests are taken.
fn standing(state: &State) -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(ProcessMetrics));
    let ready = if state.readiness() == Readiness::Ready { 1.0 } else { 0.0 };
    registry.sub_registry_with_prefix("flaredb").register(
        "ready",
        "Whether requests are taken: 1, or 0 while shutting down or with its engine closed",
        ConstGauge::new(ready),
    );
    registry
}

/// The same in the older text format. It knows neither units nor an end, calls an info a gauge, and describes a
/// counter under the name of its samples.
fn classic(openmetrics: &str) -> String {
    let mut classic = String::with_capacity(openmetrics.len());
    let mut help = "";
    for line in openmetrics.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = described.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                kind => ("", kind),
            };
            let _ = write!(classic, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n");
        } else if !line.starts_with('#') {
            classic.push_str(line);
            classic.push('\n');
        }
    }
    classic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_text_format_describes_what_it_calls_by_its_name() {
        let openmetrics = "# HELP a_seconds What, a.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\n\
                           a_seconds_total{b=\"# c\"} 1\n# HELP d D.\n# TYPE d info\nd_info{e=\"f\"} 1\n\
                           # HELP g G.\n# TYPE g histogram\ng_sum 1\n# EOF\n";
        let expected = "# HELP a_seconds_total What, a.\n# TYPE a_seconds_total counter\n\
                        a_seconds_total{b=\"# c\"} 1\n# HELP d_info D.\n# TYPE d_info gauge\nd_info{e=\"f\"} 1\n\
                        # HELP g G.\n# TYPE g histogram\ng_sum 1\n";
        assert_eq!(classic(openmetrics), expected);
    }
}
