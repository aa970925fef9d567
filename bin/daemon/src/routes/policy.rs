//! `/cofferdam/policy`: the isolation policy. Ours, not Docker's.
//!
//! * `GET` shows its rules, and with `image=NAME` what they say about an image, for a container with the labels `label` and
//!   from the front `front` (`docker` or `cmdlet`). An image that is not here is judged as if it had been pulled.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use cofferdam_api::{Owner, PolicyAnswer, PolicyOrigin, PolicyReport};
use cofferdam_image::Reference;
use cofferdam_model::Isolation;

use crate::engine::{Engine, Shared};
use crate::error::{ApiError, ApiResult};
use crate::policy::{Rule, Subject, Verdict};
use crate::server::Params;

/// This group's routes.
pub fn router() -> Router<Shared> {
    Router::new().route("/cofferdam/policy", get(show))
}

async fn show(State(engine): State<Shared>, params: Params) -> ApiResult<Json<PolicyReport>> {
    let rules = engine.config.policy.rules.iter().map(ToString::to_string).collect();
    let image = params.get("image").map(|name| answer(&engine, name, &params)).transpose()?;
    Ok(Json(PolicyReport { rules, image }))
}

fn answer(engine: &Engine, name: &str, params: &Params) -> ApiResult<PolicyAnswer> {
    let front = match params.get("front") {
        None | Some("docker") => Owner::Docker,
        Some(front) if front == Owner::FRONT => Owner::Vmms,
        Some(other) => {
            return Err(ApiError::bad_request(format!("invalid front {other:?}: want docker or cmdlet")));
        }
    };
    let labels = params.all("label").map(|label| label.split_once('=').unwrap_or((label, "")));
    let labels: BTreeMap<String, String> =
        labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let found = engine.images.resolve(name).ok();
    let subject = match &found {
        Some(image) => Subject::of(image, &labels, front),
        None => {
            let reference =
                Reference::parse_any_case(name).map_err(|error| ApiError::bad_request(error.to_string()))?;
            Subject::to_be_pulled(reference, &labels, front)
        }
    };
    let (policy, default) = (&engine.config.policy, engine.config.default_isolation);
    let rule = |rule: Option<&Rule>| rule.map(ToString::to_string).unwrap_or_default();
    let verdict = policy.judge(&subject);
    let isolation = policy.level(&subject, None, default).map_err(ApiError::internal)?;
    let origin = |verdict: &Verdict<'_>| PolicyOrigin {
        origin: verdict.origin.to_string(),
        decision: verdict.decision().as_str().to_owned(),
        rule: rule(verdict.rule),
    };
    Ok(PolicyAnswer {
        name: name.to_owned(),
        id: found.as_ref().map(|image| image.id().to_string()).unwrap_or_default(),
        decision: verdict.decision().as_str().to_owned(),
        rule: rule(verdict.rule),
        isolation: isolation.to_string(),
        refusal: policy.level(&subject, Some(Isolation::Process), default).err().unwrap_or_default(),
        origins: policy.verdicts(&subject).iter().map(origin).collect(),
    })
}
