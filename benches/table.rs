//! The table: a row a measurement, raw against ours, and whether the ratio keeps its bar.

use std::io::{IsTerminal, Write};

/// What decides a row.
#[derive(Clone, Copy)]
pub enum Bar {
    /// Ours is this part of raw, or more.
    RatioAtLeast(f64),
    /// Ours is less than this many times raw.
    RatioBelow(f64),
    /// Ours itself is below this.
    Below(f64),
    /// Ours itself is exactly this.
    Exactly(f64),
    /// For information.
    None,
}

/// One line.
pub struct Row {
    pub measurement: String,
    pub raw: Option<f64>,
    pub ours: Option<f64>,
    pub bar: Bar,
}

/// All lines, printed as they come: a run that cannot go on has shown what it measured.
pub struct Table;

impl Row {
    /// Raw against ours.
    pub fn compared(measurement: impl Into<String>, raw: f64, ours: f64, bar: Bar) -> Self {
        let (raw, ours) = (Some(raw), Some(ours));
        Self {
            measurement: measurement.into(),
            raw,
            ours,
            bar,
        }
    }

    /// What there is no raw counterpart of.
    pub fn ours(measurement: impl Into<String>, ours: f64, bar: Bar) -> Self {
        Self {
            measurement: measurement.into(),
            raw: None,
            ours: Some(ours),
            bar,
        }
    }

    /// The ceiling alone.
    pub fn raw(measurement: impl Into<String>, raw: f64) -> Self {
        Self {
            measurement: measurement.into(),
            raw: Some(raw),
            ours: None,
            bar: Bar::None,
        }
    }

    fn ratio(&self) -> Option<f64> {
        Some(self.ours? / self.raw?)
    }

    fn verdict(&self) -> (String, &'static str) {
        let (bar, kept) = match self.bar {
            Bar::RatioAtLeast(least) => (format!(">= {least}x"), self.ratio().map(|ratio| ratio >= least)),
            Bar::RatioBelow(most) => (format!("< {most}x"), self.ratio().map(|ratio| ratio < most)),
            Bar::Below(most) => (format!("< {most}"), self.ours.map(|ours| ours < most)),
            Bar::Exactly(value) => (format!("= {value}"), self.ours.map(|ours| (ours - value).abs() < 1e-9)),
            Bar::None => (String::new(), None),
        };
        let word = match kept {
            Some(true) => "ok",
            Some(false) => "FAIL",
            None => "",
        };
        (bar, word)
    }
}

impl Table {
    /// Prints the header to stdout.
    pub fn begin() -> Self {
        print(&columns(
            ["measurement", "raw", "ours", "ratio", "bar", ""].map(String::from),
        ));
        Self
    }

    /// Prints a line to stdout.
    pub fn push(&mut self, row: Row) {
        print(&line(&row));
    }
}

/// Prints a line to stdout.
pub fn print(line: &str) {
    // A reader that went away has seen what it wanted.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Says what is going on, where somebody watches.
pub fn progress(text: &str) {
    if std::io::stderr().is_terminal() {
        eprintln!("{text}");
    }
}

/// The middle value.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The smallest value that this part of all is not above.
pub fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (part * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

fn line(row: &Row) -> String {
    let (bar, word) = row.verdict();
    let number = |value: Option<f64>| value.map(short).unwrap_or_default();
    let ratio = row.ratio().map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
    columns([
        row.measurement.clone(),
        number(row.raw),
        number(row.ours),
        ratio,
        bar,
        word.into(),
    ])
}

fn columns([measurement, raw, ours, ratio, bar, word]: [String; 6]) -> String {
    let line = format!("{measurement:<58} {raw:>8} {ours:>8} {ratio:>6}  {bar:<9} {word}");
    line.trim_end().to_owned()
}

fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}
