//! One check's result, and how results look.

use serde::Serialize;

use crate::output;

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// It works.
    Ok,
    /// Something works less well, or one isolation level does not.
    Warn,
    /// Containers do not work.
    Fail,
}

/// A result.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it is.
    pub status: Status,
    /// In a sentence.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Check {
    /// It works.
    pub fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, status: Status::Ok, message: message.into(), hint: None }
    }

    /// It works less well.
    pub fn warn(name: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name, status: Status::Warn, message: message.into(), hint: Some(hint.into()) }
    }

    /// It does not work.
    pub fn fail(name: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name, status: Status::Fail, message: message.into(), hint: Some(hint.into()) }
    }
}

/// The results for people: what to do stands under what was found.
pub fn table(checks: &[Check]) -> String {
    let mut text = "CHECK\tSTATUS\tFINDING\n".to_owned();
    for check in checks {
        let status = match check.status {
            Status::Ok => "OK",
            Status::Warn => "WARN",
            Status::Fail => "FAIL",
        };
        text += &format!("{}\t{status}\t{}\n", check.name, check.message.replace(['\n', '\t'], " "));
        if let Some(hint) = &check.hint {
            text += &format!("\t\t→ {hint}\n");
        }
    }
    let count = |status: Status| checks.iter().filter(|check| check.status == status).count();
    let (warnings, failures) = (count(Status::Warn), count(Status::Fail));
    let summary = match (failures, warnings) {
        (0, 0) => "Everything works.".to_owned(),
        (0, warnings) => format!("Containers work; {warnings} warning(s) above."),
        (failures, _) => {
            format!("{failures} failure(s): containers do not work here until they are put right.")
        }
    };
    format!("{}\n{summary}\n", output::align(&text, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_stands_under_what_was_found() {
        let checks = [Check::ok("root", "running as root"), Check::warn("kvm", "no /dev/kvm", "enable it")];
        let want = "CHECK   STATUS   FINDING\n\
                    root    OK       running as root\n\
                    kvm     WARN     no /dev/kvm\n                 → enable it\n\n\
                    Containers work; 1 warning(s) above.\n";
        assert_eq!(table(&checks), want);
        assert!(table(&[Check::fail("x", "y", "z")]).ends_with("put right.\n"));
    }
}
