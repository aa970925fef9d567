//! Manifests and indexes of the OCI, and Docker's schema 2, which has the same shape under other media types.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, Error, ImageConfig};

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// The largest manifest, index or configuration that is read into memory.
pub(crate) const MAX_DOCUMENT: u64 = 8 << 20;

/// Points at content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

impl Descriptor {
    pub(crate) fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self { media_type: media_type.to_owned(), digest, size, platform: None, annotations: None }
    }

    pub(crate) fn is_index(&self) -> bool {
        matches!(self.media_type.as_str(), OCI_INDEX | DOCKER_INDEX)
    }
}

/// `os/architecture[/variant]`, as in `--platform`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`.
    #[serde(default)]
    pub os: String,
    /// `amd64`, `arm64`…
    #[serde(default)]
    pub architecture: String,
    /// `v7`…
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// This machine's platform, in Go's names.
    #[must_use]
    pub fn host() -> Self {
        Self {
            os: "linux".into(),
            architecture: go_architecture(std::env::consts::ARCH).into(),
            variant: None,
        }
    }

    /// Reads `os[/architecture[/variant]]` or a bare architecture.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let host = Self::host();
        let mut parts = text.split('/').filter(|part| !part.is_empty());
        match (parts.next(), parts.next(), parts.next()) {
            (None, ..) => host,
            (Some("linux"), None, _) => host,
            (Some(architecture), None, _) => {
                Self { architecture: go_architecture(architecture).into(), ..host }
            }
            (Some(os), Some(architecture), variant) => Self {
                os: os.to_lowercase(),
                architecture: go_architecture(architecture).into(),
                variant: variant.map(str::to_owned),
            },
        }
    }

    /// The platform that an image says it is for.
    pub(crate) fn of(config: &ImageConfig) -> Self {
        let variant = Some(config.variant.clone()).filter(|variant| !variant.is_empty());
        Self { os: config.os.clone(), architecture: config.architecture.clone(), variant }
    }

    /// Whether what is made for it is right for the `wanted` one.
    pub(crate) fn serves(&self, wanted: &Self) -> bool {
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && (wanted.variant.is_none() || self.variant == wanted.variant)
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

fn go_architecture(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

/// What one image is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub schema_version: u32,
    #[serde(default)]
    pub media_type: String,
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

impl Manifest {
    /// A manifest of our own, for images that came without.
    pub(crate) fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self { schema_version: 2, media_type: OCI_MANIFEST.to_owned(), config, layers }
    }

    /// Its media type; OCI manifests need not say theirs.
    pub(crate) fn media_type(&self) -> &str {
        if self.media_type.is_empty() { OCI_MANIFEST } else { &self.media_type }
    }
}

/// A list of manifests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub schema_version: u32,
    #[serde(default)]
    pub media_type: String,
    pub manifests: Vec<Descriptor>,
}

impl Index {
    /// The manifest for a platform. One that says nothing of its platform serves when there is no better.
    pub(crate) fn select(&self, platform: &Platform) -> Option<&Descriptor> {
        let said = self
            .manifests
            .iter()
            .find(|entry| entry.platform.as_ref().is_some_and(|own| own.serves(platform)));
        said.or_else(|| self.manifests.iter().find(|entry| entry.platform.is_none()))
    }
}

/// Either of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Document {
    Manifest(Manifest),
    Index(Index),
}

impl Document {
    /// Reads a manifest or an index. What it is is decided by its fields; a document that has those of both is
    /// refused, because two readers could disagree about it (OCI image-spec, CVE-2021-41190).
    pub(crate) fn parse(data: &[u8]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Shape {
            manifests: Option<serde_json::Value>,
            layers: Option<serde_json::Value>,
            config: Option<serde_json::Value>,
        }
        let bad = |error: serde_json::Error| Error::document("manifest", error);
        let shape: Shape = serde_json::from_slice(data).map_err(bad)?;
        let document = match (shape.manifests.is_some(), shape.layers.is_some() || shape.config.is_some()) {
            (true, false) => Self::Index(serde_json::from_slice(data).map_err(bad)?),
            (false, true) => Self::Manifest(serde_json::from_slice(data).map_err(bad)?),
            _ => return Err(Error::document("manifest", "neither a manifest nor an index")),
        };
        let (version, layers) = match &document {
            Self::Manifest(manifest) => (manifest.schema_version, manifest.layers.len()),
            Self::Index(index) => (index.schema_version, 0),
        };
        if version != 2 {
            return Err(Error::document("manifest", format!("schema version {version} is not supported")));
        }
        if layers > crate::MAX_LAYERS {
            return Err(Error::document("manifest", "max depth exceeded"));
        }
        Ok(document)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_parse() {
        assert_eq!(Platform::parse("linux/arm/v7").to_string(), "linux/arm/v7");
        assert_eq!(Platform::parse("arm64").to_string(), "linux/arm64");
        assert_eq!(Platform::parse(""), Platform::host());
        assert_eq!(Platform::parse("linux/x86_64").architecture, "amd64");
    }

    #[test]
    fn ambiguous_documents_are_refused() {
        let digest = Digest::of(b"");
        let descriptor = format!(r#"{{"mediaType":"m","digest":"{digest}","size":1}}"#);
        let both = format!(r#"{{"schemaVersion":2,"config":{descriptor},"layers":[],"manifests":[]}}"#);
        let old = format!(r#"{{"schemaVersion":1,"config":{descriptor},"layers":[]}}"#);
        let negative =
            format!(r#"{{"schemaVersion":2,"config":{},"layers":[]}}"#, descriptor.replace(":1}", ":-1}"));
        for bad in [both.as_str(), &old, &negative, "{}", "[]", "null", ""] {
            assert!(Document::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let good = format!(r#"{{"schemaVersion":2,"config":{descriptor},"layers":[{descriptor}]}}"#);
        assert!(matches!(Document::parse(good.as_bytes()).unwrap(), Document::Manifest(_)));
    }

    #[test]
    fn an_index_is_chosen_from_by_platform() {
        let entry = |text: &str, n: u8| Descriptor {
            platform: (!text.is_empty()).then(|| Platform::parse(text)),
            ..Descriptor::new(OCI_MANIFEST, Digest::of(&[n]), 1)
        };
        let manifests = vec![entry("linux/arm64", 1), entry("linux/amd64", 2), entry("windows/amd64", 3)];
        let index = Index { schema_version: 2, media_type: String::new(), manifests };
        assert_eq!(index.select(&Platform::parse("linux/amd64")).unwrap().digest, Digest::of(&[2]));
        assert!(index.select(&Platform::parse("linux/s390x")).is_none());
    }
}
