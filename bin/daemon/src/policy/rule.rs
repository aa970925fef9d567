//! One rule: what it is about, and what it decides.

use std::fmt;

use cofferdam_api::Owner;
use cofferdam_image::{Digest, Origin, Reference};
use serde::Deserialize;

use super::{Pattern, Subject};

/// So many rules are enough for anybody.
const MOST_RULES: usize = 1000;

/// What a rule decides, from lenient to strict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Decision {
    /// Any level.
    #[serde(rename = "allow process")]
    AllowProcess,
    /// `hyperv` for containers that name none.
    #[serde(rename = "default hyperv")]
    DefaultHyperv,
    /// `hyperv`, and nothing else.
    #[serde(rename = "require hyperv")]
    RequireHyperv,
}

impl Decision {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllowProcess => "allow process",
            Self::DefaultHyperv => "default hyperv",
            Self::RequireHyperv => "require hyperv",
        }
    }
}

/// A rule. All of its conditions have to match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it is called.
    pub name: String,
    /// What it decides.
    pub decision: Decision,
    digest: Option<Digest>,
    image: Option<Pattern>,
    registry: Option<Pattern>,
    label: Option<(String, Option<String>)>,
    front: Option<Owner>,
}

/// How a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    /// By what the image cannot choose: its content, its origin, who asks.
    Strong,
    /// By what the image says of itself, or what it is called now.
    Weak,
}

/// How a rule matches, and how specific it is: digest, image, registry, label, front, in this order.
#[derive(Clone, Copy, Debug)]
pub struct Match {
    pub strength: Strength,
    pub specificity: Specificity,
}

type Specificity = (bool, Option<(bool, usize)>, Option<(bool, usize)>, u8, bool);

/// A rule as the configuration has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    name: Option<String>,
    decision: Decision,
    digest: Option<String>,
    image: Option<String>,
    registry: Option<String>,
    label: Option<String>,
    front: Option<String>,
}

/// Reads the configuration's rules.
pub fn read(written: Vec<Written>) -> Result<Vec<Rule>, String> {
    if written.len() > MOST_RULES {
        return Err(format!("more than {MOST_RULES} rules"));
    }
    let rules = written.into_iter().enumerate().map(|(number, rule)| {
        let name = rule.name.clone().unwrap_or_else(|| (number + 1).to_string());
        rule.check(name.clone()).map_err(|reason| format!("rule {name:?}: {reason}"))
    });
    rules.collect()
}

impl Written {
    fn check(self, name: String) -> Result<Rule, String> {
        let pattern = |text: Option<String>| text.as_deref().map(Pattern::parse).transpose();
        let digest = self.digest.map(|text| text.parse::<Digest>().map_err(|error| error.to_string()));
        let label = self.label.map(|text| match text.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (text, None),
        });
        let front = self.front.map(|text| match text.as_str() {
            "docker" => Ok(Owner::Docker),
            Owner::FRONT => Ok(Owner::Vmms),
            other => Err(format!("front {other:?}: want docker or cmdlet")),
        });
        let rule = Rule {
            name,
            decision: self.decision,
            digest: digest.transpose()?,
            image: pattern(self.image)?,
            registry: pattern(self.registry)?,
            label,
            front: front.transpose()?,
        };
        if rule.decision == Decision::AllowProcess && rule.label.is_some() && !rule.is_anchored() {
            return Err(
                "an image chooses its own labels: name a registry, an image or a digest as well".to_owned()
            );
        }
        Ok(rule)
    }
}

impl Rule {
    fn is_anchored(&self) -> bool {
        self.digest.is_some() || self.image.is_some() || self.registry.is_some()
    }

    /// Whether and how it is about this image, as it came from this origin.
    pub fn matches(&self, subject: &Subject<'_>, origin: &Origin) -> Option<Match> {
        let mut strength = Strength::Strong;
        if let Some(digest) = &self.digest
            && !subject.digests.contains(&digest.to_string())
        {
            return None;
        }
        if let Some(registry) = &self.registry
            && !registry.matches(origin.registry())
        {
            return None;
        }
        if let Some(image) = &self.image {
            let pulled = match origin {
                Origin::Pulled(name) => is_called(image, name),
                other => image.matches(other.registry()),
            };
            if !pulled {
                if !subject.names.iter().any(|name| is_called(image, name)) {
                    return None;
                }
                strength = Strength::Weak;
            }
        }
        if let Some((name, value)) = &self.label {
            let found = subject.labels.get(name.as_str())?;
            if value.as_ref().is_some_and(|value| value != found) {
                return None;
            }
            if !self.is_anchored() {
                strength = Strength::Weak;
            }
        }
        if self.front.is_some_and(|front| front != subject.front) {
            return None;
        }
        let specificity = (
            self.digest.is_some(),
            self.image.as_ref().map(Pattern::specificity),
            self.registry.as_ref().map(Pattern::specificity),
            self.label.as_ref().map_or(0, |(_, value)| 1 + u8::from(value.is_some())),
            self.front.is_some(),
        );
        Some(Match { strength, specificity })
    }
}

/// With and without tag, as users write it and in full.
fn is_called(pattern: &Pattern, name: &Reference) -> bool {
    let whole = format!("{}/{}", name.registry(), name.repository());
    [name.familiar(), name.to_string(), name.familiar_name(), whole].iter().any(|text| pattern.matches(text))
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {:?} ({}", self.name, self.decision.as_str())?;
        let label = self.label.as_ref().map(|(name, value)| match value {
            Some(value) => format!("{name}={value}"),
            None => name.clone(),
        });
        let front = self.front.map(|front| if front == Owner::Vmms { Owner::FRONT } else { "docker" });
        for (condition, value) in [
            ("digest", self.digest.as_ref().map(ToString::to_string)),
            ("image", self.image.as_ref().map(|pattern| pattern.as_str().to_owned())),
            ("registry", self.registry.as_ref().map(|pattern| pattern.as_str().to_owned())),
            ("label", label),
            ("front", front.map(str::to_owned)),
        ] {
            if let Some(value) = value {
                write!(f, ", {condition} {value}")?;
            }
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(json: serde_json::Value) -> Result<Rule, String> {
        let written = serde_json::from_value(json).map_err(|error| error.to_string())?;
        Ok(read(vec![written])?.remove(0))
    }

    #[test]
    fn mistakes_are_named() {
        for (json, words) in [
            (serde_json::json!({ "decision": "require vm" }), "unknown variant `require vm`"),
            (serde_json::json!({ "registry": "x" }), "missing field `decision`"),
            (
                serde_json::json!({ "decision": "allow process", "registery": "x" }),
                "unknown field `registery`",
            ),
            (serde_json::json!({ "decision": "require hyperv", "digest": "x" }), "rule \"1\": "),
            (
                serde_json::json!({ "decision": "require hyperv", "image": "" }),
                "a pattern has 1 to 512 bytes",
            ),
            (serde_json::json!({ "decision": "require hyperv", "front": "x" }), "want docker or cmdlet"),
            (serde_json::json!({ "name": "a", "decision": "allow process", "label": "x" }), "its own labels"),
        ] {
            let error = rule(json).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_rule_shows_itself() {
        let json = serde_json::json!({
            "name": "n", "decision": "allow process", "registry": "R.example", "label": "a=b", "front": "cmdlet",
        });
        let shown = "rule \"n\" (allow process, registry r.example, label a=b, front cmdlet)";
        assert_eq!(rule(json).unwrap().to_string(), shown);
    }
}
