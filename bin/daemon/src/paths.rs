//! The directories of ARCHITECTURE.md.

use std::path::PathBuf;

use cofferdam_model::ContainerId;

/// Where everything is.
#[derive(Clone, Debug)]
pub struct Paths {
    /// Records and images.
    pub data_root: PathBuf,
    /// Sockets and bundles.
    pub exec_root: PathBuf,
}

impl Paths {
    /// The records.
    pub fn database(&self) -> PathBuf {
        self.data_root.join("cofferdam.db")
    }

    /// The image store.
    pub fn images(&self) -> PathBuf {
        self.data_root.join("images")
    }

    /// Builds under way, and their cache.
    pub fn builds(&self) -> PathBuf {
        self.data_root.join("build")
    }

    /// The volumes.
    pub fn volumes(&self) -> PathBuf {
        self.data_root.join("volumes")
    }

    /// The parent of all containers' own data.
    pub fn containers(&self) -> PathBuf {
        self.data_root.join("containers")
    }

    /// A container's own data: its writable layer, its log, its hosts file.
    pub fn container(&self, id: &ContainerId) -> PathBuf {
        self.containers().join(id.as_str())
    }

    /// The parent of all bundles.
    pub fn bundles(&self) -> PathBuf {
        self.exec_root.join("containers")
    }

    /// A container's bundle.
    pub fn bundle(&self, id: &ContainerId) -> PathBuf {
        self.bundles().join(id.as_str())
    }

    /// Blank disks, which containers' writable disks begin as.
    pub fn blank_disks(&self) -> PathBuf {
        self.data_root.join("disks")
    }

    /// Notes of which VM templates were verified since the host's boot.
    pub fn verified_templates(&self) -> PathBuf {
        self.exec_root.join("verified-templates")
    }

    /// Where templates under construction have their mount points.
    pub fn template_work(&self) -> PathBuf {
        self.exec_root.join("making-templates")
    }
}
