use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use rdb_engine_api::{Engine, Metric, MetricUnit, MetricValue};

/// What an engine measures, asked for at each scrape.
#[derive(Debug)]
pub struct EngineMetrics {
    engine: Arc<dyn Engine>,
}

impl EngineMetrics {
    /// Lets a registry show what the process is that serves an engine, and the engine's metrics, with `engine_`
    /// before each name.
    pub fn register(engine: Arc<dyn Engine>, registry: &mut Registry) {
        let info = engine.info();
        let build = Info::new([
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("engine", info.name.clone()),
            ("format", info.format.to_string()),
            ("profile", if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned()),
            ("target", format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)),
        ]);
        registry.register("build", "What this process is", build);
        registry.sub_registry_with_prefix("engine").register_collector(Box::new(Self { engine }));
    }
}

impl Collector for EngineMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut metrics = self.engine.metrics();
        // Those of one name have to follow each other, under one description.
        metrics.sort_by_key(|metric| metric.name);
        for family in metrics.chunk_by(|one, other| one.name == other.name) {
            let [first, ..] = family else { continue };
            let Some(kind) = kind(&first.value) else { continue };
            let unit = unit(first.unit);
            let help = format!("{}.", first.help);
            let mut described = encoder.encode_descriptor(first.name, &help, unit.as_ref(), kind)?;
            for metric in family {
                encode_value(metric, &mut described)?;
            }
        }
        Ok(())
    }
}

/// None for what this node does not know to show.
fn kind(value: &MetricValue) -> Option<MetricType> {
    Some(match value {
        MetricValue::Counter(_) => MetricType::Counter,
        MetricValue::Gauge(_) => MetricType::Gauge,
        MetricValue::Histogram { .. } => MetricType::Histogram,
        _ => return None,
    })
}

const fn unit(unit: MetricUnit) -> Option<Unit> {
    match unit {
        MetricUnit::Bytes => Some(Unit::Bytes),
        MetricUnit::Seconds => Some(Unit::Seconds),
        _ => None,
    }
}

fn encode_value(metric: &Metric, described: &mut MetricEncoder<'_>) -> fmt::Result {
    let encode = |encoder: &mut MetricEncoder<'_>| match &metric.value {
        MetricValue::Counter(value) => encoder.encode_counter::<NoLabelSet, _, f64>(value, None),
        MetricValue::Gauge(value) => encoder.encode_gauge(value),
        MetricValue::Histogram { buckets, sum, count } => {
            encoder.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None)
        }
        _ => Ok(()),
    };
    if metric.labels.is_empty() {
        return encode(described);
    }
    let labels: Vec<_> = metric.labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
    encode(&mut described.encode_family(&labels)?)
}
