//! What a client asks of a build: the query of `POST /build`.

use std::collections::BTreeMap;

use cofferdam_image::Reference;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::containers::config::{HostConfig, lenient};
use crate::error::{ApiError, ApiResult};
use crate::server::Params;

/// It.
#[derive(Debug)]
pub struct Options {
    pub names: Vec<Reference>,
    pub dockerfile: String,
    pub args: BTreeMap<String, Option<String>>,
    pub labels: BTreeMap<String, String>,
    pub target: String,
    pub no_cache: bool,
    pub pull: bool,
    pub quiet: bool,
    pub remove: bool,
    pub force_remove: bool,
    pub platform: Option<String>,
    /// Of the containers of RUN steps.
    pub host: HostConfig,
}

impl Options {
    pub fn read(params: &Params) -> ApiResult<Self> {
        let refuse = |text: String| Err(ApiError::bad_request(text));
        if params.get("version") == Some("2") {
            return refuse(
                "BuildKit is not part of this engine: build with DOCKER_BUILDKIT=0, or with cofferdam build"
                    .to_owned(),
            );
        }
        if params.flag("squash") {
            return refuse("squash is not supported: the layers of a build stay apart".to_owned());
        }
        if params.get("remote").is_some_and(|remote| remote != "client-session") {
            return refuse(
                "a remote build context is not supported: fetch it and send it as the build's context"
                    .to_owned(),
            );
        }
        if params.get("outputs").is_some_and(|outputs| outputs != "[]" && outputs != "null") {
            return refuse("outputs need BuildKit, which is not part of this engine".to_owned());
        }
        let mut names = Vec::new();
        for text in params.all("t").filter(|text| !text.is_empty()) {
            let name: Reference = Reference::parse_any_case(text).map_err(|error| {
                ApiError::bad_request(format!("invalid argument {text:?} for \"-t, --tag\" flag: {error}"))
            })?;
            if name.digest().is_some() {
                return refuse("build tag cannot contain a digest".to_owned());
            }
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let number =
            |name: &str| -> ApiResult<Value> { Ok(Value::from(params.number::<i64>(name)?.unwrap_or(0))) };
        let text = |name: &str| Value::from(params.get(name).unwrap_or_default());
        let list = |name: &str| Value::from(params.all(name).map(str::to_owned).collect::<Vec<_>>());
        let network = params.get("networkmode").filter(|mode| *mode != "default").unwrap_or_default();
        let host = serde_json::json!({
            "Isolation": text("isolation"), "NetworkMode": network, "Memory": number("memory")?,
            "MemorySwap": number("memswap")?, "CpuShares": number("cpushares")?, "CpuQuota": number("cpuquota")?,
            "CpuPeriod": number("cpuperiod")?, "CpusetCpus": text("cpusetcpus"), "CpusetMems": text("cpusetmems"),
            "CgroupParent": text("cgroupparent"), "ShmSize": number("shmsize")?, "ExtraHosts": list("extrahosts"),
            "SecurityOpt": list("securityopt"), "Ulimits": json::<Value>(params, "ulimits")?,
        });
        let host = lenient(host)
            .map_err(|error| ApiError::bad_request(format!("invalid build options: {error}")))?;
        Ok(Self {
            names,
            dockerfile: params.get("dockerfile").unwrap_or("Dockerfile").to_owned(),
            args: json(params, "buildargs")?,
            labels: json(params, "labels")?,
            target: params.get("target").unwrap_or_default().to_lowercase(),
            no_cache: params.flag("nocache"),
            pull: params.flag("pull"),
            quiet: params.flag("q"),
            remove: params.flag_or("rm", true),
            force_remove: params.flag("forcerm"),
            platform: params.get("platform").map(str::to_owned),
            host,
        })
    }
}

fn json<T: DeserializeOwned + Default>(params: &Params, name: &str) -> ApiResult<T> {
    let Some(text) = params.get(name) else { return Ok(T::default()) };
    serde_json::from_str::<Option<T>>(text)
        .map(Option::unwrap_or_default)
        .map_err(|error| ApiError::bad_request(format!("invalid value for {name}: {error}")))
}
