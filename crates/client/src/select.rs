//! Which daemon a command means.

use std::path::PathBuf;

use crate::{Client, ClientError, Host, TlsFiles};

/// The daemon that was chosen.
#[derive(Debug)]
pub struct Selected {
    /// Its client.
    pub client: Client,
    /// `DOCKER_HOST`, when it was set and passed over because no Cofferdam daemon answers there.
    pub ignored_docker_host: Option<String>,
}

impl Client {
    /// The daemon that `flag` (`--host`) names; else `COFFERDAM_HOST`; else `DOCKER_HOST` when a Cofferdam daemon
    /// answers there; else the one on the default socket. `DOCKER_TLS_VERIFY` and `DOCKER_CERT_PATH` apply to TCP.
    pub async fn select(
        flag: Option<&str>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Selected, ClientError> {
        let variable = |name: &str| environment(name).filter(|value| !value.is_empty());
        let tls = variable("DOCKER_TLS_VERIFY").map(|_| {
            let home = || PathBuf::from(variable("HOME").unwrap_or_default()).join(".docker");
            TlsFiles { directory: variable("DOCKER_CERT_PATH").map_or_else(home, PathBuf::from) }
        });
        let client = |text: &str| -> Result<Self, ClientError> {
            let host: Host = text.parse()?;
            Ok(Self::new(match &tls {
                Some(files) => host.with_tls(files.clone()),
                None => host,
            }))
        };
        if let Some(named) = flag.map(str::to_owned).or_else(|| variable("COFFERDAM_HOST")) {
            return Ok(Selected { client: client(&named)?, ignored_docker_host: None });
        }
        let mut ignored_docker_host = None;
        if let Some(docker_host) = variable("DOCKER_HOST") {
            match client(&docker_host) {
                Ok(candidate) if candidate.is_cofferdam().await => {
                    return Ok(Selected { client: candidate, ignored_docker_host: None });
                }
                _ => ignored_docker_host = Some(docker_host),
            }
        }
        Ok(Selected { client: Self::new(Host::default()), ignored_docker_host })
    }

    /// Whether a Cofferdam daemon answers there, by its `/version`.
    async fn is_cofferdam(&self) -> bool {
        let Ok(version) = self.version().await else { return false };
        let version = version.value;
        let platform = version.platform.map(|platform| platform.name).unwrap_or_default();
        let components = version.components.unwrap_or_default().into_iter().map(|component| component.name);
        std::iter::once(platform).chain(components).any(|name| name.contains("Cofferdam"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(flag: Option<&str>, variables: &[(&str, &str)]) -> Selected {
        let lookup =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(Client::select(flag, lookup)).unwrap()
    }

    #[test]
    fn the_nearest_choice_wins() {
        let all = [("COFFERDAM_HOST", "/b"), ("DOCKER_HOST", "/nobody/listens/here")];
        assert_eq!(selected(Some("/a"), &all).client.host(), &Host::unix("/a"));
        assert_eq!(selected(None, &all).client.host(), &Host::unix("/b"));
        let passed_over = selected(None, &all[1..]);
        assert_eq!(passed_over.client.host(), &Host::default());
        assert_eq!(passed_over.ignored_docker_host.as_deref(), Some("/nobody/listens/here"));
        assert!(selected(None, &[("DOCKER_HOST", "")]).ignored_docker_host.is_none());
    }

    #[test]
    fn tls_applies_to_tcp() {
        let tls = [("DOCKER_TLS_VERIFY", "1"), ("HOME", "/root"), ("COFFERDAM_HOST", "tcp://h:1")];
        let Host::Tcp { tls: Some(files), .. } = selected(None, &tls).client.host().clone() else { panic!() };
        assert_eq!(files.directory, PathBuf::from("/root/.docker"));
    }
}
