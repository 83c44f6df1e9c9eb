//! A scrape of `/metrics`, read as a Prometheus would.

use std::collections::BTreeMap;

/// The samples of one scrape.
#[derive(Clone, Debug)]
pub struct Metrics {
    text: String,
    samples: Vec<Sample>,
}

#[derive(Clone, Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Metrics {
    /// Reads the text format; a line that is not of it fails the test.
    pub fn parse(text: String) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples = lines
            .map(|line| sample(line).unwrap_or_else(|| panic!("not a sample: {line}")))
            .collect();
        Self { text, samples }
    }

    /// The page itself.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The value of the one series with this name and at least these labels; nothing where there is none.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let matching: Vec<f64> = self.matching(name, labels).map(|sample| sample.value).collect();
        assert!(
            matching.len() <= 1,
            "expected at most one series {name}{labels:?}, found {}",
            matching.len()
        );
        matching.first().copied()
    }

    /// The sum over all series with this name and at least these labels; 0 where there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|sample| sample.value).sum()
    }

    /// How many series there are with this name and at least these labels.
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> usize {
        self.matching(name, labels).count()
    }

    /// Every sample: name, labels, value.
    pub fn samples(&self) -> impl Iterator<Item = (&str, &BTreeMap<String, String>, f64)> {
        self.samples
            .iter()
            .map(|sample| (sample.name.as_str(), &sample.labels, sample.value))
    }

    fn matching<'a>(&'a self, name: &'a str, labels: &'a [(&str, &str)]) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| {
            sample.name == name
                && labels
                    .iter()
                    .all(|(key, value)| sample.labels.get(*key).is_some_and(|found| found == value))
        })
    }
}

// `name{key="value",...} 1` or `name 1`.
fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let (name, mut rest) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
        None => (series, ""),
    };
    let mut labels = BTreeMap::new();
    while !rest.is_empty() {
        let (key, after) = rest.split_once("=\"")?;
        let (label, after) = label_value(after)?;
        labels.insert(key.to_owned(), label);
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    Some(Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

// The value up to its closing quote, unescaped, and what follows.
fn label_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[index + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[test]
fn labels_may_hold_commas_braces_and_escapes() {
    let metrics = Metrics::parse("# HELP a b\na_total{tier=\"x,}\\\"y\",kind=\"missing\"} 3\nb 1.5\n".into());
    assert_eq!(
        metrics.value("a_total", &[("tier", "x,}\"y"), ("kind", "missing")]),
        Some(3.0)
    );
    assert_eq!(metrics.value("b", &[]), Some(1.5));
    assert_eq!(metrics.value("c", &[]), None);
}
