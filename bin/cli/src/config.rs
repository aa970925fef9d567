//! Docker's client configuration, `config.json`: credentials for registries (written there, or kept by a helper
//! program), the detach keys, and the user's own table formats. It is only read.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use base64::Engine as _;
use cofferdam_client::RegistryAuth;
use serde::Deserialize;

/// What we use of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Config {
    auths: BTreeMap<String, Entry>,
    /// The helper for registries without one of their own.
    creds_store: String,
    /// Helpers by registry.
    cred_helpers: BTreeMap<String, String>,
    /// Keys that detach.
    pub detach_keys: String,
    /// The user's own format of `ps`.
    pub ps_format: String,
    /// The user's own format of `images`.
    pub images_format: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    /// `user:password` in base64.
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

/// What a helper answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FromHelper {
    username: String,
    secret: String,
}

impl Config {
    /// Reads it from `directory`, else `DOCKER_CONFIG`, else `~/.docker`. It need not exist.
    pub fn load(directory: Option<&Path>) -> anyhow::Result<Self> {
        let variable =
            |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let directory = directory.map(Path::to_owned).or_else(|| variable("DOCKER_CONFIG"));
        let Some(directory) = directory.or_else(|| variable("HOME").map(|home| home.join(".docker"))) else {
            return Ok(Self::default());
        };
        let path = directory.join("config.json");
        match std::fs::read(&path) {
            Ok(text) => {
                serde_json::from_slice(&text).with_context(|| format!("cannot use {}", path.display()))
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
                Ok(Self::default())
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// The credentials for a registry, if there are any.
    pub fn credentials(&self, registry: &str) -> anyhow::Result<Option<RegistryAuth>> {
        let helper =
            self.cred_helpers.get(registry).or(Some(&self.creds_store).filter(|name| !name.is_empty()));
        for key in keys(registry) {
            let found = match helper {
                Some(helper) => ask_helper(helper, &key)?,
                None => None,
            };
            let found = match found {
                Some(found) => Some(found),
                None => self.auths.get(&key).map(|entry| entry.credentials(&key)).transpose()?.flatten(),
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

/// The names under which a registry's credentials may be kept. Docker Hub's is historical.
fn keys(registry: &str) -> Vec<String> {
    match registry {
        "docker.io" => vec!["https://index.docker.io/v1/".to_owned()],
        name => vec![name.to_owned(), format!("https://{name}"), format!("http://{name}")],
    }
}

impl Entry {
    fn credentials(&self, server: &str) -> anyhow::Result<Option<RegistryAuth>> {
        let (mut username, mut password) = (self.username.clone(), self.password.clone());
        if !self.auth.is_empty() {
            let decoded = base64::engine::general_purpose::STANDARD.decode(&self.auth).ok();
            let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
            let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
            let (name, secret) =
                pair.with_context(|| format!("the credentials for {server} are not base64"))?;
            (username, password) = (name.to_owned(), secret.trim_end_matches('\0').to_owned());
        }
        if username.is_empty() && self.identitytoken.is_empty() {
            return Ok(None);
        }
        let identity_token = self.identitytoken.clone();
        Ok(Some(RegistryAuth { username, password, server_address: server.to_owned(), identity_token }))
    }
}

/// Runs `docker-credential-<helper> get`. Its protocol: the server on standard input, JSON on standard output; a
/// missing entry is an exit code of 1 with a known text.
fn ask_helper(helper: &str, server: &str) -> anyhow::Result<Option<RegistryAuth>> {
    let program = format!("docker-credential-{helper}");
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .with_context(|| format!("cannot run the credential helper {program}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read says why by its exit code.
        let _ = stdin.write_all(server.as_bytes());
    }
    let answer =
        child.wait_with_output().with_context(|| format!("cannot run the credential helper {program}"))?;
    if !answer.status.success() {
        let said = String::from_utf8_lossy(&answer.stdout);
        if said.contains("credentials not found") {
            return Ok(None);
        }
        anyhow::bail!("credential helper {program}: {}", said.trim());
    }
    let answer: FromHelper = serde_json::from_slice(&answer.stdout)
        .with_context(|| format!("cannot understand the answer of the credential helper {program}"))?;
    let mut credentials = RegistryAuth { server_address: server.to_owned(), ..RegistryAuth::default() };
    // The protocol's mark for a token in the place of a password.
    if answer.username == "<token>" {
        credentials.identity_token = answer.secret;
    } else {
        (credentials.username, credentials.password) = (answer.username, answer.secret);
    }
    Ok(Some(credentials))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_found_as_docker_keeps_them() {
        let config: Config = serde_json::from_str(
            r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dXNlcjpwYTpzcw=="},"r.example:5000":{"username":"u","password":"p"},
                "http://old.example":{"identitytoken":"t"},"empty.example":{}},"HttpHeaders":{},"detachKeys":"ctrl-x"}"#,
        )
        .unwrap();
        let hub = config.credentials("docker.io").unwrap().unwrap();
        assert_eq!((hub.username.as_str(), hub.password.as_str()), ("user", "pa:ss"));
        assert_eq!(config.credentials("r.example:5000").unwrap().unwrap().password, "p");
        assert_eq!(config.credentials("old.example").unwrap().unwrap().identity_token, "t");
        assert!(config.credentials("empty.example").unwrap().is_none());
        assert!(config.credentials("unknown.example").unwrap().is_none());
        assert_eq!(config.detach_keys, "ctrl-x");
    }

    #[test]
    fn broken_credentials_name_their_registry() {
        let config: Config = serde_json::from_str(r#"{"auths":{"r":{"auth":"%%%"}}}"#).unwrap();
        assert_eq!(config.credentials("r").unwrap_err().to_string(), "the credentials for r are not base64");
        let config: Config =
            serde_json::from_str(r#"{"credHelpers":{"r":"no-such-helper-at-all"}}"#).unwrap();
        assert!(
            config
                .credentials("r")
                .unwrap_err()
                .to_string()
                .contains("docker-credential-no-such-helper-at-all")
        );
    }
}
