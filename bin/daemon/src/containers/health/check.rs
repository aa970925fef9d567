//! What a health check is: as a client or an image asks for it, and as it is run.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::config::Config;

/// The least of each span, in nanoseconds.
const LEAST: i64 = 1_000_000;

/// What is run in the place of `CMD-SHELL` when the image has no `SHELL`.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// `Config.Healthcheck`. Spans are nanoseconds; 0 takes the image's, or Docker's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `NONE`; `CMD` and words; `CMD-SHELL` and a line; nothing: the image's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// From the end of one probe to the begin of the next.
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// How long a probe may take.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// How long failures do not count.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// The interval in that time.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// How many failures in a row are unhealthy.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

impl Healthcheck {
    /// Reads an image's.
    pub fn of_image(value: &Value) -> Result<Self, String> {
        serde_json::from_value(value.clone()).map_err(|error| format!("the image's health check: {error}"))
    }

    /// What was asked for over what the image has.
    #[must_use]
    pub fn over(mut self, image: Self) -> Self {
        if self.test.is_empty() {
            self.test = image.test;
        }
        for (own, other) in [
            (&mut self.interval, image.interval),
            (&mut self.timeout, image.timeout),
            (&mut self.start_period, image.start_period),
            (&mut self.start_interval, image.start_interval),
            (&mut self.retries, image.retries),
        ] {
            if *own == 0 {
                *own = other;
            }
        }
        self
    }

    /// What is wrong with it, in Docker's words.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let short = |name: &str, span: i64| {
            (span != 0 && span < LEAST).then(|| format!("{name} in Healthcheck cannot be less than 1ms"))
        };
        short("Interval", self.interval)
            .or_else(|| short("Timeout", self.timeout))
            .or_else(|| (self.retries < 0).then(|| "Retries in Healthcheck cannot be negative".to_owned()))
            .or_else(|| short("StartPeriod", self.start_period))
            .or_else(|| short("StartInterval", self.start_interval))
    }

    /// What Docker's daemon only logs: a kind of test that is not run.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let kind = self.test.first()?;
        (!["NONE", "CMD", "CMD-SHELL"].contains(&kind.as_str()))
            .then(|| format!("Unknown healthcheck type '{kind}' (expected 'CMD'): no health check is run."))
    }
}

/// A health check as it is run, with nothing left open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The program with its arguments.
    pub words: Vec<String>,
    /// From the end of one probe to the begin of the next.
    pub interval: Duration,
    /// How long a probe may take.
    pub timeout: Duration,
    /// How long failures do not count.
    pub start_period: Duration,
    /// The interval in that time.
    pub start_interval: Duration,
    /// How many failures in a row are unhealthy.
    pub retries: u32,
}

impl Check {
    /// The check of a container; `None` when it has none.
    #[must_use]
    pub fn of(config: &Config) -> Option<Self> {
        let asked = config.healthcheck.as_ref()?;
        let (kind, rest) = asked.test.split_first()?;
        let words = match kind.as_str() {
            "CMD" => rest.to_vec(),
            "CMD-SHELL" => [shell(config), rest.to_vec()].concat(),
            _ => return None,
        };
        let or = |span: i64, default: u64| match u64::try_from(span) {
            Ok(span @ 1..) => Duration::from_nanos(span),
            _ => Duration::from_secs(default),
        };
        Some(Self {
            words,
            interval: or(asked.interval, 30),
            timeout: or(asked.timeout, 30),
            start_period: or(asked.start_period, 0),
            start_interval: or(asked.start_interval, 5),
            retries: u32::try_from(asked.retries).ok().filter(|&retries| retries > 0).unwrap_or(3),
        })
    }
}

/// The image's `SHELL`, which is among the fields that are only kept.
fn shell(config: &Config) -> Vec<String> {
    let own = config.others.get("Shell").and_then(Value::as_array);
    let own: Vec<String> = own.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    if own.is_empty() { SHELL.map(str::to_owned).to_vec() } else { own }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(value: Value) -> Healthcheck {
        serde_json::from_value(value).unwrap()
    }

    fn check(value: Value) -> Option<Check> {
        Check::of(&Config { healthcheck: Some(asked(value)), ..Config::default() })
    }

    #[test]
    fn what_is_run() {
        let words = |test: Value| check(json!({ "Test": test })).map(|check| check.words.join("|"));
        assert_eq!(words(json!(["CMD", "a", "b c"])).unwrap(), "a|b c");
        assert_eq!(words(json!(["CMD-SHELL", "a && b"])).unwrap(), "/bin/sh|-c|a && b");
        for none in [json!([]), json!(["NONE"]), json!(["HTTP", "x"])] {
            assert_eq!(words(none), None);
        }
        assert_eq!(Check::of(&Config::default()), None);
    }

    #[test]
    fn defaults_are_dockers() {
        let check = check(json!({ "Test": ["CMD", "true"], "StartPeriod": 2_000_000 })).unwrap();
        let seconds = Duration::from_secs;
        assert_eq!((check.interval, check.timeout, check.retries), (seconds(30), seconds(30), 3));
        assert_eq!((check.start_period, check.start_interval), (Duration::from_millis(2), seconds(5)));
    }

    #[test]
    fn an_image_fills_what_was_left_open() {
        let image = asked(json!({ "Test": ["CMD", "probe"], "Interval": 7_000_000, "Retries": 4 }));
        let merged = asked(json!({ "Interval": 5_000_000 })).over(image.clone());
        assert_eq!(merged, asked(json!({ "Test": ["CMD", "probe"], "Interval": 5_000_000, "Retries": 4 })));
        assert_eq!(asked(json!({ "Test": ["NONE"] })).over(image).test, ["NONE"]);
    }

    #[test]
    fn nonsense_is_refused_in_dockers_words() {
        for (field, value, text) in [
            ("Interval", 5, "Interval in Healthcheck cannot be less than 1ms"),
            ("Timeout", -1, "Timeout in Healthcheck cannot be less than 1ms"),
            ("StartPeriod", 999_999, "StartPeriod in Healthcheck cannot be less than 1ms"),
            ("StartInterval", 1, "StartInterval in Healthcheck cannot be less than 1ms"),
            ("Retries", -1, "Retries in Healthcheck cannot be negative"),
        ] {
            assert_eq!(asked(json!({ field: value })).refusal().unwrap(), text);
        }
        assert_eq!(asked(json!({ "Interval": 1_000_000 })).refusal(), None);
        assert!(asked(json!({ "Test": ["HTTP"] })).warning().unwrap().contains("'HTTP'"));
    }
}
