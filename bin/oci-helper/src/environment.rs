//! A program's environment.

use std::fs;

/// Makes `variables` (`NAME=value` each) this process's environment, with the `HOME` that every program expects.
pub fn replace(variables: &[String], uid: u32) {
    let variables = variables.iter().filter_map(|variable| variable.split_once('='));
    let mut environment: Vec<(String, String)> =
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    if !environment.iter().any(|(name, _)| name == "HOME") {
        environment.push(("HOME".to_owned(), home_of(uid)));
    }
    crate::fork::replace_environment(&environment);
}

/// The user's home by the container's `/etc/passwd`, else `/`.
fn home_of(uid: u32) -> String {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let entry = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let home = entry
        .filter(|fields| fields.get(2).and_then(|id| id.parse().ok()) == Some(uid))
        .find_map(|fields| fields.get(5).map(|home| (*home).to_owned()));
    home.filter(|home| !home.is_empty()).unwrap_or_else(|| "/".to_owned())
}
