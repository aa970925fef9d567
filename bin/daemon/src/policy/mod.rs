//! The isolation policy: which level an image's containers may have, decided by rules of the daemon's configuration
//! ([docs/policy.md]). One pure function, [`Policy::judge`], says it, whoever asks: `create`, each start, a conversion, and
//! `cofferdam policy test`.

mod pattern;
mod rule;

use std::collections::BTreeMap;

use cofferdam_api::Owner;
use cofferdam_image::{Image, Origin, Origins, Reference};
use cofferdam_model::Isolation;

pub use pattern::Pattern;
pub use rule::{Decision, Rule};
use rule::{Match, Strength, Written};
use serde::Deserialize;

use crate::engine::Engine;
use crate::error::{ApiError, ApiResult};

/// All rules; none is the policy of a daemon that was told of no policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<Written>")]
pub struct Policy {
    /// In the configuration's order, which decides nothing.
    pub rules: Vec<Rule>,
}

impl TryFrom<Vec<Written>> for Policy {
    type Error = String;

    fn try_from(written: Vec<Written>) -> Result<Self, String> {
        rule::read(written).map(|rules| Self { rules })
    }
}

/// What is judged.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// The image's ID and its manifest's digest; none of an image that is not here.
    pub digests: Vec<String>,
    /// What it is called now.
    pub names: Vec<Reference>,
    /// Where it came from.
    pub origins: Origins,
    /// The image's labels, with the container's over them.
    pub labels: BTreeMap<&'a str, &'a str>,
    /// Who makes the container.
    pub front: Owner,
}

impl<'a> Subject<'a> {
    /// An image that is here, for a container with these labels.
    pub fn of(image: &'a Image, labels: &'a BTreeMap<String, String>, front: Owner) -> Self {
        let own = image.container_config().labels.iter();
        let labels = own.chain(labels).map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Self {
            digests: vec![image.id().to_string(), image.manifest_digest().to_string()],
            names: image.names().to_vec(),
            origins: image.origins().clone(),
            labels,
            front,
        }
    }

    /// An image that is not here: what it would be once it was pulled.
    pub fn to_be_pulled(name: Reference, labels: &'a BTreeMap<String, String>, front: Owner) -> Self {
        let labels = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let digests = name.digest().map(ToString::to_string).into_iter().collect();
        let (names, origins) = (vec![name.clone()], Origins::of(Origin::Pulled(name)));
        Self { digests, names, origins, labels, front }
    }
}

/// What the rules say about one origin of an image.
#[derive(Clone, Copy, Debug)]
pub struct Verdict<'a> {
    /// The origin.
    pub origin: &'a Origin,
    /// The rule that decides, if any matches.
    pub rule: Option<&'a Rule>,
}

impl Verdict<'_> {
    /// Without a rule the level is free.
    #[must_use]
    pub fn decision(&self) -> Decision {
        self.rule.map_or(Decision::AllowProcess, |rule| rule.decision)
    }
}

impl Policy {
    /// What the rules say, for each origin. An image is worth what its worst origin is: [`Policy::judge`].
    pub fn verdicts<'a>(&'a self, subject: &'a Subject<'_>) -> Vec<Verdict<'a>> {
        subject
            .origins
            .iter()
            .map(|origin| Verdict { origin, rule: self.decisive(subject, origin) })
            .collect()
    }

    /// The strictest of the verdicts.
    pub fn judge<'a>(&'a self, subject: &'a Subject<'_>) -> Verdict<'a> {
        let verdicts = self.verdicts(subject).into_iter();
        verdicts.max_by_key(Verdict::decision).expect("an image has an origin")
    }

    /// The level of a container that asks for this one, or for none.
    pub fn level(
        &self,
        subject: &Subject<'_>,
        asked: Option<Isolation>,
        default: Isolation,
    ) -> Result<Isolation, String> {
        let verdict = self.judge(subject);
        match (verdict.decision(), asked) {
            (Decision::RequireHyperv, Some(Isolation::Process)) => {
                let rule = verdict.rule.map(ToString::to_string).unwrap_or_default();
                Err(format!(
                    "isolation process is refused by the isolation policy: {rule} (image from {}): use isolation hyperv, \
                     or change isolation-policy in the daemon's configuration",
                    verdict.origin
                ))
            }
            (_, Some(asked)) => Ok(asked),
            (Decision::RequireHyperv | Decision::DefaultHyperv, None) => Ok(Isolation::Hyperv),
            (Decision::AllowProcess, None) => Ok(default),
        }
    }

    /// The most specific matching rule, and of several that are equally so the strictest. What an image says of itself and
    /// what it is called now ([`Strength::Weak`]) can make it stricter, and never more lenient.
    fn decisive<'a>(&'a self, subject: &Subject<'_>, origin: &Origin) -> Option<&'a Rule> {
        let mut matching: Vec<(&Rule, Match)> =
            self.rules.iter().filter_map(|rule| Some((rule, rule.matches(subject, origin)?))).collect();
        matching
            .sort_by(|(a, x), (b, y)| y.specificity.cmp(&x.specificity).then(b.decision.cmp(&a.decision)));
        let strong = matching.iter().find(|(_, how)| how.strength == Strength::Strong);
        let floor = strong.map_or(Decision::AllowProcess, |(rule, _)| rule.decision);
        let decisive =
            matching.iter().find(|(rule, how)| how.strength == Strength::Strong || rule.decision >= floor);
        decisive.map(|(rule, _)| *rule)
    }
}

/// The level of a new container of this image, or why it cannot have the one that it asks for.
pub fn level(
    engine: &Engine,
    image: &Image,
    labels: &BTreeMap<String, String>,
    front: Owner,
    asked: Option<Isolation>,
) -> ApiResult<Isolation> {
    let config = &engine.config;
    let subject = Subject::of(image, labels, front);
    config.policy.level(&subject, asked, config.default_isolation).map_err(ApiError::forbidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(rules: serde_json::Value) -> Policy {
        serde_json::from_value(rules).unwrap()
    }

    /// An image from these places, now called `name`, with one label.
    fn subject<'a>(origins: &[&str], name: &str, label: (&'a str, &'a str)) -> Subject<'a> {
        let mut all = Origins::of(origins[0].parse().unwrap());
        origins.iter().for_each(|origin| all.add(&Origins::of(origin.parse().unwrap())));
        Subject {
            digests: vec![format!("sha256:{}", "a".repeat(64))],
            names: vec![name.parse().unwrap()],
            origins: all,
            labels: BTreeMap::from([label]),
            front: Owner::Docker,
        }
    }

    const TRUSTED: &str = "good.example/app:1";
    const STRANGER: &str = "evil.example/app:1";

    fn allowed(policy: &Policy, subject: &Subject<'_>) -> bool {
        policy.level(subject, Some(Isolation::Process), Isolation::Process).is_ok()
    }

    #[test]
    fn without_rules_everything_is_as_it_was() {
        let (policy, subject) = (Policy::default(), subject(&[STRANGER], "x", ("a", "b")));
        assert!(allowed(&policy, &subject));
        assert_eq!(policy.level(&subject, None, Isolation::Hyperv), Ok(Isolation::Hyperv));
    }

    #[test]
    fn only_trusted_registries_run_as_processes() {
        let policy = policy(serde_json::json!([
            { "name": "strangers", "decision": "require hyperv" },
            { "decision": "allow process", "registry": "good.example" },
            { "decision": "allow process", "registry": "*.corp.example:5000" },
        ]));
        for (origins, name, process) in [
            (vec![TRUSTED], "x", true),
            (vec!["a.corp.example:5000/x:1"], "x", true),
            // Another name, whatever it is, gains nothing.
            (vec![STRANGER], TRUSTED, false),
            (vec!["good.example.evil.example/x"], "x", false),
            (vec!["a.corp.example:5001/x:1"], "x", false),
            (vec!["corp.example:5000/x:1"], "x", false),
            // Archives, and what nobody knows.
            (vec!["@load"], TRUSTED, false),
            (vec!["@import"], TRUSTED, false),
            (vec!["@unknown"], TRUSTED, false),
            // What is made of both is worth what the worse one is.
            (vec![TRUSTED, STRANGER], TRUSTED, false),
        ] {
            assert_eq!(allowed(&policy, &subject(&origins, name, ("a", "b"))), process, "{origins:?} {name}");
        }
        let stranger = subject(&[STRANGER], "x", ("a", "b"));
        assert_eq!(policy.level(&stranger, None, Isolation::Process), Ok(Isolation::Hyperv));
        let refusal = policy.level(&stranger, Some(Isolation::Process), Isolation::Process).unwrap_err();
        assert!(refusal.contains("rule \"strangers\" (require hyperv)"), "{refusal}");
        assert!(refusal.contains("from evil.example/app:1"), "{refusal}");
    }

    #[test]
    fn an_image_cannot_speak_for_itself() {
        let policy = policy(serde_json::json!([
            { "decision": "require hyperv" },
            { "decision": "default hyperv", "label": "tier=soft" },
            { "decision": "allow process", "image": "good.example/*" },
            { "decision": "require hyperv", "label": "tier=hard" },
        ]));
        // Neither by a label of its own nor by a name that somebody gave it here.
        assert!(!allowed(&policy, &subject(&[STRANGER], "x", ("tier", "soft"))));
        assert!(!allowed(&policy, &subject(&[STRANGER], TRUSTED, ("a", "b"))));
        assert!(allowed(&policy, &subject(&[TRUSTED], "x", ("a", "b"))));
        // A label of a container is less specific than an image's name.
        assert!(allowed(&policy, &subject(&[TRUSTED], "x", ("tier", "hard"))));
    }

    #[test]
    fn labels_and_present_names_make_it_stricter() {
        let policy = policy(serde_json::json!([
            { "decision": "require hyperv", "label": "untrusted" },
            { "decision": "require hyperv", "image": "customers/*" },
            { "decision": "default hyperv", "label": "tier=soft" },
        ]));
        assert!(allowed(&policy, &subject(&[STRANGER], "x", ("a", "b"))));
        assert!(!allowed(&policy, &subject(&["@build"], "x", ("untrusted", ""))));
        assert!(!allowed(&policy, &subject(&["@build"], "customers/x:3", ("a", "b"))));
        let soft = subject(&["@build"], "x", ("tier", "soft"));
        assert!(allowed(&policy, &soft));
        assert_eq!(policy.level(&soft, None, Isolation::Process), Ok(Isolation::Hyperv));
    }

    #[test]
    fn the_most_specific_rule_wins() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let mut rules = vec![
            serde_json::json!({ "decision": "allow process", "front": "docker" }),
            serde_json::json!({ "decision": "require hyperv", "registry": "*.example" }),
            serde_json::json!({ "decision": "allow process", "registry": "evil.example" }),
            serde_json::json!({ "decision": "require hyperv", "image": "evil.example/*" }),
            serde_json::json!({ "decision": "allow process", "image": "evil.example/a*" }),
            serde_json::json!({ "decision": "require hyperv", "image": "evil.example/app:1" }),
            serde_json::json!({ "decision": "allow process", "digest": digest }),
            serde_json::json!({ "decision": "require hyperv", "digest": digest }),
        ];
        // Each of them overrules those before it; of two that are equal the stricter counts.
        let stranger = subject(&[STRANGER], "x", ("a", "b"));
        for count in 1..=rules.len() {
            let policy = policy(serde_json::Value::Array(rules[..count].to_vec()));
            assert_eq!(allowed(&policy, &stranger), count % 2 == 1, "{count}");
        }
        rules.reverse();
        assert!(!allowed(&policy(serde_json::Value::Array(rules)), &stranger));
    }
}
