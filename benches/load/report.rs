//! What a scenario says: one line for machines, one for people.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

/// Latencies of one kind of call, microseconds.
#[derive(Debug, Default)]
pub(crate) struct Latencies(Vec<u32>);

impl Latencies {
    /// Notes the time since `began`.
    pub(crate) fn since(&mut self, began: Instant) {
        self.add(began.elapsed());
    }

    /// Notes a time.
    pub(crate) fn add(&mut self, took: Duration) {
        self.0.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
    }

    /// Takes over what others noted.
    pub(crate) fn merge(all: impl IntoIterator<Item = Self>) -> Self {
        let mut merged: Vec<u32> = all.into_iter().flat_map(|one| one.0).collect();
        merged.sort_unstable();
        Self(merged)
    }

    /// The value below which `share` of all lie, milliseconds. After [`Latencies::merge`].
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let rank = (self.0.len() as f64 * share).ceil() as usize;
        let at = rank.clamp(1, self.0.len().max(1)) - 1;
        round(f64::from(self.0.get(at).copied().unwrap_or(0)) / 1000.0, 3)
    }

    /// The usual three, for machines.
    pub(crate) fn json(&self) -> Value {
        json!({
            "calls": self.0.len(),
            "p50_ms": self.quantile(0.5),
            "p99_ms": self.quantile(0.99),
            "max_ms": self.quantile(1.0),
        })
    }

    /// The usual three, for people.
    pub(crate) fn words(&self) -> String {
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| self.quantile(share));
        format!("p50 {p50} ms, p99 {p99} ms, max {max} ms")
    }
}

/// Collects the numbers of one scenario.
#[derive(Debug)]
pub(crate) struct Report {
    fields: Map<String, Value>,
    words: Vec<String>,
}

impl Report {
    /// An empty report.
    pub(crate) fn new(scenario: &str) -> Self {
        let fields = Map::from_iter([("scenario".to_owned(), json!(scenario))]);
        Self { fields, words: vec![scenario.to_owned()] }
    }

    /// Adds a number for machines.
    pub(crate) fn put(&mut self, name: &str, value: Value) {
        self.fields.insert(name.to_owned(), value);
    }

    /// Adds words for people.
    pub(crate) fn say(&mut self, words: impl Into<String>) {
        self.words.push(words.into());
    }

    /// Adds a count that was done in a time, and returns the rate.
    pub(crate) fn rate(&mut self, what: &str, count: u64, took: Duration) -> f64 {
        let seconds = took.as_secs_f64();
        let rate = round(count as f64 / seconds.max(1e-9), 0);
        self.put(what, json!(count));
        self.put(&format!("{what}_s"), json!(round(seconds, 3)));
        self.put(&format!("{what}_per_s"), json!(rate));
        rate
    }

    /// Adds a time.
    pub(crate) fn time(&mut self, what: &str, took: Duration) {
        let seconds = round(took.as_secs_f64(), 3);
        self.put(&format!("{what}_s"), json!(seconds));
        self.say(format!("{} {seconds} s", what.replace('_', " ")));
    }

    /// The two lines.
    pub(crate) fn print(mut self) {
        self.put("verified", json!(true));
        println!("{}", Value::Object(self.fields));
        let scenario = self.words.remove(0);
        println!("{scenario}: {}", self.words.join("; "));
    }
}

/// Rounds for people: digits that mean nothing are not printed.
pub(crate) fn round(value: f64, digits: i32) -> f64 {
    let factor = 10f64.powi(digits);
    (value * factor).round() / factor
}
