//! Everything the daemon holds, shared by all requests.

use std::sync::Arc;

use cofferdam_image::ImageStore;
use cofferdam_model::Instance;
use cofferdam_store::Store;

use crate::build::Builds;
use crate::config::Config;
use crate::containers::Containers;
use crate::events::EventBus;
use crate::network::DefaultNetwork;
use crate::networks::Networks;
use crate::paths::Paths;
use crate::pieces::Pieces;
use crate::ports::Ports;
use crate::templates::Templates;
use crate::vm::VmSupport;
use crate::volumes::Volumes;

/// One daemon.
pub struct Engine {
    /// A random ID that stays with the data root, shown by `info`.
    pub id: String,
    /// What it was told.
    pub config: Config,
    /// Where things are.
    pub paths: Paths,
    /// What everything on the host is named after.
    pub instance: Instance,
    /// Records.
    pub store: Store,
    /// Images.
    pub images: ImageStore,
    /// Builds and their cache.
    pub builds: Builds,
    /// What happens.
    pub events: EventBus,
    /// Volumes.
    pub volumes: Volumes,
    /// Containers.
    pub containers: Containers,
    /// The default network.
    pub network: DefaultNetwork,
    /// Users' networks.
    pub networks: Networks,
    /// Ports of the host that containers have published.
    pub ports: Ports,
    /// What the `hyperv` level has here.
    pub vm: VmSupport,
    /// What utility VMs are cloned from.
    pub templates: Arc<Templates>,
    /// Our other programs.
    pub pieces: Pieces,
}

/// The handle that handlers get.
pub type Shared = Arc<Engine>;
