//! Progress lines of pull, load and import: one JSON object a line.

use serde::{Deserialize, Serialize};

/// One line. Fields that say nothing are left out, as Docker's `jsonmessage` does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// Text of a stream without progress (`load`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// What happens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// How far it is; an empty object for lines of a layer that have no figure.
    #[serde(rename = "progressDetail", skip_serializing_if = "Option::is_none")]
    pub detail: Option<ProgressDetail>,
    /// The same as text, a bar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// The layer, or the tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// A failure in mid-stream, where the status line is already out.
    #[serde(rename = "errorDetail", skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<ProgressError>,
    /// The same as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Figures of a [`Progress`] line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProgressDetail {
    /// Bytes done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<u64>,
    /// Bytes in all, when known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}

/// The failure of a [`Progress`] line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProgressError {
    /// A code, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<i64>,
    /// What went wrong.
    pub message: String,
}

impl Progress {
    /// A line that only says something.
    #[must_use]
    pub fn status(status: impl Into<String>) -> Self {
        Self { status: Some(status.into()), ..Self::default() }
    }

    /// A line about one layer or tag.
    #[must_use]
    pub fn of(id: impl Into<String>, status: impl Into<String>) -> Self {
        Self { detail: Some(ProgressDetail::default()), id: Some(id.into()), ..Self::status(status) }
    }

    /// A line about one layer with figures, and the bar that old clients print as it is.
    #[must_use]
    pub fn figures(id: impl Into<String>, status: impl Into<String>, current: u64, total: u64) -> Self {
        let known = (total > 0).then_some(total);
        let detail = ProgressDetail { current: Some(current), total: known };
        Self { detail: Some(detail), progress: Some(bar(current, known)), ..Self::of(id, status) }
    }

    /// A line of plain text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { stream: Some(text.into()), ..Self::default() }
    }

    /// The last line of a stream that failed.
    #[must_use]
    pub fn failed(message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            error_detail: Some(ProgressError { code: None, message: message.clone() }),
            error: Some(message),
            ..Self::default()
        }
    }

    /// The line as it travels, with its end.
    #[must_use]
    pub fn to_line(&self) -> String {
        let mut line = serde_json::to_string(self).expect("plain text and numbers always serialise");
        line.push_str("\r\n");
        line
    }
}

/// `[=====>    ]  1.2MB/3.4MB`, Docker's 50 characters.
fn bar(current: u64, total: Option<u64>) -> String {
    let Some(total) = total else { return format!("{:>8}", size(current)) };
    let width = usize::try_from(current.min(total).saturating_mul(50) / total.max(1)).unwrap_or(50);
    let (done, left) = if width >= 50 {
        ("=".repeat(49) + ">", String::new())
    } else {
        ("=".repeat(width) + ">", " ".repeat(49 - width))
    };
    format!("[{done}{left}] {:>8}/{}", size(current), size(total))
}

/// `1.234MB`: four significant digits in powers of ten.
fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    while value >= 1000.0 && unit < UNITS.len() - 1 {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = match value {
        _ if unit == 0 => 0,
        v if v < 10.0 => 3,
        v if v < 100.0 => 2,
        _ => 1,
    };
    format!("{value:.decimals$}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_dockers() {
        assert_eq!(Progress::status("Digest: x").to_line(), "{\"status\":\"Digest: x\"}\r\n");
        let line = Progress::of("abc", "Pull complete").to_line();
        assert_eq!(line, "{\"status\":\"Pull complete\",\"progressDetail\":{},\"id\":\"abc\"}\r\n");
        let line = Progress::failed("no").to_line();
        assert_eq!(line, "{\"errorDetail\":{\"message\":\"no\"},\"error\":\"no\"}\r\n");
        let back: Progress = serde_json::from_str(line.trim()).unwrap();
        assert_eq!(back, Progress::failed("no"));
    }

    #[test]
    fn the_bar_is_fifty_wide() {
        for current in [0, 1, 500, 999, 1000, 5000] {
            let bar = bar(current, Some(1000));
            assert_eq!(bar.find(']'), Some(51), "{bar}");
        }
        assert_eq!(size(1_234_567), "1.235MB");
        assert_eq!(size(512), "512B");
    }
}
