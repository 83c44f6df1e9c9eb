//! One metric of the gauges: its name and labels, and the samples of one scrape.

use std::collections::HashMap;

use prometheus::core::Desc;
use prometheus::proto::{Gauge, LabelPair, Metric, MetricFamily, MetricType};

use crate::telemetry::metrics::PREFIX;

/// A gauge with `LABELS` labels: the compiler counts the values.
#[derive(Debug)]
pub(super) struct Family<const LABELS: usize> {
    pub(super) desc: Desc,
    labels: [&'static str; LABELS],
}

impl<const LABELS: usize> Family<LABELS> {
    pub(super) fn new(name: &str, help: &str, labels: [&'static str; LABELS]) -> prometheus::Result<Self> {
        let names = labels.iter().map(|label| (*label).to_owned()).collect();
        let desc = Desc::new(format!("{PREFIX}_{name}"), help.to_owned(), names, HashMap::new())?;
        Ok(Self { desc, labels })
    }

    pub(super) fn with<'a>(&self, samples: impl IntoIterator<Item = ([&'a str; LABELS], f64)>) -> MetricFamily {
        let metrics = samples.into_iter().map(|(values, value)| {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            let mut metric = Metric::from_gauge(gauge);
            metric.set_label(self.labels.iter().zip(values).map(label_pair).collect());
            metric
        });
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(MetricType::GAUGE);
        family.set_metric(metrics.collect());
        family
    }
}

fn label_pair((name, value): (&&'static str, &str)) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name((*name).to_owned());
    pair.set_value(value.to_owned());
    pair
}
