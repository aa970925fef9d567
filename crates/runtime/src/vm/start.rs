//! How a container's VM can come to run, and the disk it begins with.
//!
//! | | needs | what is left to do in the guest |
//! |---|---|---|
//! | thaw | what an image clone needs, and its worker process frozen: with the emulator, on this boot of the host | what is left to an image clone, but most of it is translated |
//! | thaw, not prepared | a frozen VM in which a container of this image has run | what is left to a clone; most of it is translated |
//! | image clone | a template of this image, prepared for containers of this kind; a disk that was never used; no bind mounts | identity, network, program |
//! | clone | a template | all that, and the root file system and the container |
//! | boot | | all that, and a kernel's start |

use std::path::Path;

use cofferdam_hypervisor::template::{Template, Templates, key_of};
use cofferdam_hypervisor::{Backing, Hypervisor as _, Origin};
use cofferdam_model::{Frozen, ImageOrder, ShimSpec, TemplateOrder, VmSpec, VmStart, bundle};
use cofferdam_proto::Prepare;

use super::guest_spec::GuestSpec;
use super::worker::hypervisor;
use crate::Error;

/// One way.
pub(super) enum Start {
    /// A template's worker process, thawed. It holds the image, mounted, and the container, prepared.
    Thaw(Template, Frozen),
    /// The same without a container: one has run in it.
    ThawRehearsed(Template, Frozen),
    /// What [`Self::Thaw`] thaws, by another worker process that takes over its state.
    ImageClone(Template),
    /// A clone of a template that has booted.
    Clone(Template),
    /// From the kernel.
    Boot,
}

impl Start {
    /// All that are possible here, the best first; and the image template that is missing, if there could be one.
    pub(super) fn possible(vm: &VmSpec, guest: &GuestSpec, disks: &Disks<'_>) -> (Vec<Self>, Option<Wanted>) {
        let VmStart::Clone(source) = &vm.start else { return (vec![Self::Boot], None) };
        let templates = Templates::of(source);
        let mut starts = Vec::new();
        let mut wanted = None;
        let image = disks.image.file_name().map(|name| name.to_string_lossy());
        // The image is known by its name, which is its ID: files under that name never change. A share's server
        // cannot be saved with the VM that it serves.
        if disks.is_new && !guest.prepare.share {
            let key = key_of(&(&source.base, &image, &guest.prepare));
            match templates.find(&key) {
                Some(template) => {
                    starts.extend(template.frozen().map(|frozen| Self::Thaw(template.clone(), frozen)));
                    starts.push(Self::ImageClone(template));
                }
                None => wanted = Some(Wanted { key, prepared: true, prepare: guest.prepare.clone() }),
            }
        } else if hypervisor(vm.kvm).capabilities().freezes {
            let key = key_of(&(&source.base, &image, "rehearsed", guest.prepare.network));
            let found = templates.find(&key);
            if found.is_none() {
                wanted = Some(Wanted { key, prepared: false, prepare: guest.prepare.clone() });
            }
            let frozen = found.and_then(|template| Some((template.clone(), template.frozen()?)));
            starts.extend(frozen.map(|(template, frozen)| Self::ThawRehearsed(template, frozen)));
        }
        match templates.find(&source.base) {
            Some(template) => starts.push(Self::Clone(template)),
            // What it would be cloned from is gone.
            None => wanted = None,
        }
        starts.push(Self::Boot);
        (starts, wanted)
    }

    /// As `inspect` shows it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Thaw(..) | Self::ThawRehearsed(..) => "thaw",
            Self::ImageClone(_) => "image-clone",
            Self::Clone(_) => "clone",
            Self::Boot => "boot",
        }
    }

    pub(super) fn template(&self) -> Option<&Template> {
        match self {
            Self::Thaw(template, _)
            | Self::ThawRehearsed(template, _)
            | Self::ImageClone(template)
            | Self::Clone(template) => Some(template),
            Self::Boot => None,
        }
    }

    /// Whether the container is prepared already.
    pub(super) fn is_prepared(&self) -> bool {
        matches!(self, Self::Thaw(..) | Self::ImageClone(_))
    }

    /// What the hypervisor is told.
    pub(super) fn origin(&self, vm: &VmSpec) -> (Origin, Backing) {
        if let Self::Thaw(template, process) | Self::ThawRehearsed(template, process) = self {
            let (process, version) = (process.clone(), template.record.hypervisor.clone());
            return (Origin::Frozen { process, version }, Backing::Anonymous);
        }
        match self.template() {
            Some(template) => {
                (Origin::Saved { state: template.state() }, Backing::Private(template.memory()))
            }
            None => (boot(vm), Backing::Anonymous),
        }
    }
}

/// A kernel's start.
pub(super) fn boot(vm: &VmSpec) -> Origin {
    Origin::Boot { kernel: vm.kernel.clone(), initrd: vm.initrd.clone() }
}

/// An image template that does not exist.
pub(super) struct Wanted {
    key: String,
    /// Whether the container shall wait in it.
    prepared: bool,
    prepare: Prepare,
}

impl Wanted {
    /// Leaves the order for it in the bundle.
    pub(super) fn write(&self, shim: &ShimSpec, directory: &Path) -> Result<(), Error> {
        let path = directory.join(bundle::TEMPLATE_ORDER);
        let failed = |source: std::io::Error| Error::Path { path: path.clone(), source };
        let (Some(vm), cofferdam_model::RootfsSpec::Disks { image, blank, .. }) = (&shim.vm, &shim.rootfs)
        else {
            return Ok(());
        };
        let order = TemplateOrder {
            key: self.key.clone(),
            vm: vm.clone(),
            oci_helper: shim.oci_helper.clone(),
            // The daemon's to say, as are the programs.
            cgroup: String::new(),
            work: std::path::PathBuf::new(),
            image: Some(ImageOrder {
                image: image.clone(),
                blank: blank.clone(),
                prepare: serde_json::to_value(&self.prepare).map_err(|error| failed(error.into()))?,
                prepared: self.prepared,
                programs: Vec::new(),
            }),
        };
        let text = serde_json::to_vec(&order).map_err(|error| failed(error.into()))?;
        std::fs::write(&path, text).map_err(failed)
    }
}

/// A container's two disks.
pub(super) struct Disks<'a> {
    /// The image.
    pub image: &'a Path,
    /// The container's own.
    pub writable: &'a Path,
    /// What it begins as.
    pub blank: &'a Path,
    /// Whether it never existed before this start.
    pub is_new: bool,
}

impl Disks<'_> {
    /// Makes the container's own disk as this way to start wants it, unless it exists.
    pub(super) fn make(&self, start: &Start) -> Result<(), Error> {
        if self.writable.exists() {
            return Ok(());
        }
        let from = match start {
            Start::Thaw(template, _) | Start::ImageClone(template) => template.disk(),
            Start::ThawRehearsed(..) | Start::Clone(_) | Start::Boot => self.blank.to_owned(),
        };
        // Under its own name it is complete, whatever happens meanwhile.
        let scratch = self.writable.with_extension("new");
        std::fs::remove_file(&scratch).ok();
        cofferdam_sys::disk::copy_sparse(&from, &scratch)
            .and_then(|_| std::fs::rename(&scratch, self.writable))
            .map_err(|source| Error::Path { path: self.writable.to_owned(), source })
    }

    /// Removes the disk that a failed start has made: the next one may want another.
    pub(super) fn discard_new(&self) {
        if self.is_new {
            std::fs::remove_file(self.writable).ok();
        }
    }
}
