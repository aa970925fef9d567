//! `GET /system/df`

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use cofferdam_api::ApiVersion;
use serde_json::{Value, json};

use crate::containers::list;
use crate::engine::Shared;
use crate::error::{ApiError, ApiResult};
use crate::server::Api;

/// The route.
pub fn router() -> Router<Shared> {
    Router::new().route("/system/df", get(disk_usage))
}

async fn disk_usage(State(engine): State<Shared>, Api(version): Api) -> ApiResult<Json<Value>> {
    let images = super::images::summaries(&engine, version).await?;
    let layers = engine.images.disk_usage().layers;
    // Counts every file of every container.
    let shared = engine.clone();
    let list = move || list::list(&shared, &list::Query { all: true, size: true, ..list::Query::default() });
    let containers =
        tokio::task::spawn_blocking(list).await.map_err(|error| ApiError::internal(error.to_string()))??;
    let volumes = volumes(&engine).await;
    let volume_use = Usage::of_volumes(&volumes);
    let (image_use, container_use) = (Usage::of_images(&images, layers), Usage::of_containers(&containers));
    // The names of before 1.52 stay: SDKs that know no others negotiate the newest version all the same.
    let mut answer = json!({
        "LayersSize": layers,
        "Images": images,
        "Containers": containers,
        "Volumes": volumes,
        "BuildCache": [],
        "BuilderSize": 0,
    });
    if version >= ApiVersion::v1(52) {
        answer["ImageUsage"] = image_use.json(images);
        answer["ContainerUsage"] = container_use.json(containers);
        answer["VolumeUsage"] = volume_use.json(volumes);
        answer["BuildCacheUsage"] = Usage::default().json(Vec::new());
    }
    Ok(Json(answer))
}

/// The volumes with their sizes and how many containers have them.
async fn volumes(engine: &Shared) -> Vec<Value> {
    let mut all = Vec::new();
    for volume in engine.volumes.all() {
        let mut json = volume.json();
        let size = crate::volumes::prune::size(&volume).await;
        let users = crate::volumes::users(engine, &volume.name).len();
        json["UsageData"] = json!({ "Size": size, "RefCount": users });
        all.push(json);
    }
    all
}

/// Sums over a kind of objects.
#[derive(Default)]
struct Usage {
    active: usize,
    /// Bytes that removing what is not active would free, at most.
    reclaimable: u64,
    size: u64,
}

impl Usage {
    fn of_images(images: &[Value], layers: u64) -> Self {
        let used = |image: &&Value| image["Containers"].as_i64().unwrap_or(0) > 0;
        let in_use: u64 = images.iter().filter(used).filter_map(|image| image["Size"].as_u64()).sum();
        Self {
            active: images.iter().filter(used).count(),
            reclaimable: layers.saturating_sub(in_use),
            size: layers,
        }
    }

    fn of_containers(containers: &[Value]) -> Self {
        let runs =
            |container: &&Value| ["running", "paused"].iter().any(|state| container["State"] == *state);
        let size = |container: &Value| container["SizeRw"].as_u64().unwrap_or(0);
        let total: u64 = containers.iter().map(size).sum();
        let in_use: u64 = containers.iter().filter(runs).map(size).sum();
        Self { active: containers.iter().filter(runs).count(), reclaimable: total - in_use, size: total }
    }

    fn of_volumes(volumes: &[Value]) -> Self {
        let used = |volume: &&Value| volume["UsageData"]["RefCount"] != 0;
        let size = |volume: &Value| volume["UsageData"]["Size"].as_u64().unwrap_or(0);
        let total: u64 = volumes.iter().map(size).sum();
        let in_use: u64 = volumes.iter().filter(used).map(size).sum();
        Self { active: volumes.iter().filter(used).count(), reclaimable: total - in_use, size: total }
    }

    fn json(&self, items: Vec<Value>) -> Value {
        json!({
            "ActiveCount": self.active,
            "TotalCount": items.len(),
            "Reclaimable": self.reclaimable,
            "TotalSize": self.size,
            "Items": items,
        })
    }
}
