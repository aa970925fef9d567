//! The container: its disks, its files, its processes and their streams.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use cofferdam_model::{ChangedFile, InterfaceConfig, Orders, bundle};
use cofferdam_net::{Card, loopback_up};
use cofferdam_proto::{CreateContainer, EndedBy, Event, ExecProcess, Message, Prepare, Rewire, StreamIds};
use cofferdam_runtime::process::reaper::Reaper;
use cofferdam_runtime::process::{Parked, ProcessIsolation};
use cofferdam_runtime::vm::guest_paths;
use cofferdam_runtime::vm::link::Link;
use cofferdam_runtime::{CreateRequest, ExecRequest, Process, Task};
use cofferdam_sys::namespace::{self, Namespace};
use rustix::mount::{MountFlags, UnmountFlags};

use crate::{early, share, warm};

/// The disks, by their place in the list of devices.
const IMAGE_DISK: &str = "/dev/vda";
const WRITABLE_DISK: &str = "/dev/vdb";
/// Where they are mounted.
const IMAGE: &str = "/run/cofferdam/image";
const DISK: &str = "/run/cofferdam/disk";
const SIGKILL: i32 = 9;
/// The one container's name in the runtime's state.
const ID: &str = "container";
/// The runtime's state.
const STATE: &str = "/run/cofferdam/state";

/// A container that waits to be told what it is.
pub struct Prepared {
    parked: Parked,
    /// The VM's network card, if it has that.
    card: Option<Card>,
    /// The small files that it has.
    files: Vec<String>,
}

/// Mounts everything and makes the container, as far as it is the same for all of its kind.
pub async fn prepare(asked: Prepare, reaper: &Reaper) -> Result<Prepared> {
    let card = if asked.network {
        Some(Card::prepare().context("network card")?)
    } else {
        // The VM always has a network card, since every VM has the same devices: it stays outside. Namespaces belong
        // to threads; this one starts the container.
        namespace::unshare(&[Namespace::Network]).context("network namespace")?;
        loopback_up().context("loopback")?;
        None
    };
    let rootfs = rootfs();
    // A rehearsal may have mounted either.
    if !Path::new(IMAGE).exists() {
        mount_image().context("image")?;
    }
    if !Path::new(DISK).exists() {
        mount_root(&rootfs).context("root file system")?;
    }
    write_spec(&asked).context("files")?;
    if asked.share {
        share::mount().context("bind mounts")?;
    }
    let isolation = ProcessIsolation {
        cache: None,
        oci_helper: PathBuf::from(guest_paths::OCI_HELPER),
        state_root: PathBuf::from(STATE),
        reaper: reaper.clone(),
    };
    let request = CreateRequest {
        id: ID.to_owned(),
        bundle: PathBuf::from(guest_paths::BUNDLE),
        terminal: asked.terminal,
        stdin: asked.stdin,
    };
    // The runtime's own errors go on unchanged: the shim tells the user what they say.
    Ok(Prepared { parked: isolation.park(request).await?, card, files: asked.files })
}

/// Reads into memory what a container of the image will probably run; in a VM that has none, nothing.
pub fn warm(programs: &[String]) {
    warm::read(Path::new(IMAGE), programs);
}

fn rootfs() -> PathBuf {
    Path::new(guest_paths::BUNDLE).join(bundle::ROOTFS)
}

/// A container.
pub struct Created {
    /// Its processes.
    pub task: Arc<dyn Task>,
    /// Its init process.
    pub pid: i32,
    card: Option<Card>,
    /// The small files that it has.
    files: Vec<String>,
}

impl Created {
    /// Removes it, and its network identity; what it has mounted of its own goes with its namespaces. `let_disk_go`:
    /// see [`cofferdam_proto::Request::Clear`].
    pub async fn clear(self, let_disk_go: bool) -> Result<()> {
        self.task.delete().await?;
        if let Some(mut card) = self.card {
            card.set(&[]).context("network")?;
        }
        if let_disk_go {
            // What the kernel holds of the disk goes with its last mount.
            for path in [rootfs().as_path(), Path::new(DISK)] {
                rustix::mount::unmount(path, UnmountFlags::empty())
                    .with_context(|| format!("unmount {}", path.display()))?;
            }
            fs::remove_dir(DISK).context(DISK)?;
            // Who has another disk may have mounts, too.
            share::load()?;
        }
        Ok(())
    }
}

impl Created {
    /// Makes its interfaces these.
    pub fn rewire(&mut self, asked: &Rewire) -> Result<()> {
        set_interfaces(self.card.as_mut(), &asked.interfaces)?;
        asked.files.iter().filter(|file| self.files.contains(&file.name)).try_for_each(change)
    }
}

/// Changes a small file, unless the container has done so.
fn change(file: &ChangedFile) -> Result<()> {
    let path = Path::new(guest_paths::FILES).join(&file.name);
    let read = fs::read(&path).with_context(|| path.display().to_string())?;
    if read != file.before.as_bytes() {
        return Ok(());
    }
    // In place: it is mounted.
    fs::write(&path, &file.text).with_context(|| path.display().to_string())
}

/// Makes the prepared container this one.
pub async fn create(prepared: Prepared, asked: CreateContainer, link: &Link) -> Result<Created> {
    for file in &asked.files {
        if !prepared.files.contains(&file.name) {
            bail!("{:?} is no file of the container", file.name);
        }
        // The file that is mounted already gets its content.
        let path = Path::new(guest_paths::FILES).join(&file.name);
        fs::write(&path, &file.text).with_context(|| path.display().to_string())?;
    }
    let mut card = prepared.card;
    set_interfaces(card.as_mut(), &asked.interfaces)?;
    prepared.parked.set_hostname(&asked.hostname)?;
    prepared.parked.limit(&asked.limits).await?;
    let orders = Orders { args: asked.args, env: asked.env };
    let (task, process) = prepared.parked.order(&orders).await?;
    let pid = process.pid;
    connect(&task, String::new(), process, asked.streams, link);
    report_oom(Arc::clone(&task), link.clone());
    Ok(Created { task, pid, card, files: prepared.files })
}

fn set_interfaces(card: Option<&mut Card>, interfaces: &[InterfaceConfig]) -> Result<()> {
    let Some(card) = card else {
        if interfaces.is_empty() {
            return Ok(());
        }
        bail!("the container was prepared without a network");
    };
    if interfaces.iter().any(|interface| interface.vlan().is_some()) {
        early::load_modules("vlan")?;
    }
    card.set(interfaces).context("network")
}

/// Starts a further process.
pub async fn exec(task: &Arc<dyn Task>, asked: ExecProcess, link: &Link) -> Result<i32> {
    let request = ExecRequest {
        exec_id: asked.exec_id.clone(),
        process: asked.process,
        terminal: asked.terminal,
        stdin: asked.streams.stdin.is_some(),
    };
    let process = task.exec(request).await?;
    let pid = process.pid;
    connect(task, asked.exec_id, process, asked.streams, link);
    Ok(pid)
}

/// Ends the container's processes and writes its disk out. It stays mounted: its journal is replayed at the next mount,
/// which costs less than unmounting it does here.
pub async fn shut_down(task: Option<Arc<dyn Task>>) -> Result<()> {
    if let Some(task) = task {
        // Who has ended already is no failure.
        task.signal("", SIGKILL, true).await.ok();
        task.wait("").await.ok();
    }
    rustix::fs::sync();
    Ok(())
}

/// Connects a process's streams, and reports its end.
fn connect(task: &Arc<dyn Task>, exec_id: String, process: Process, ids: StreamIds, link: &Link) {
    if let (Some(id), Some(stdin)) = (ids.stdin, process.stdio.stdin) {
        link.receive_stream(id, stdin);
    }
    if let (Some(id), Some(stdout)) = (ids.stdout, process.stdio.stdout) {
        link.send_stream(id, stdout);
    }
    if let (Some(id), Some(stderr)) = (ids.stderr, process.stdio.stderr) {
        link.send_stream(id, stderr);
    }
    let (task, link) = (Arc::clone(task), link.clone());
    tokio::spawn(async move {
        let code = task.wait(&exec_id).await.map_or(255, |exit| exit.code);
        let oom_killed = task.info().await.oom_killed;
        link.send(&Message::Event(Event::Exited(EndedBy { exec_id, code, oom_killed })));
    });
}

/// Reports each time the container's memory runs out, until it ends.
fn report_oom(task: Arc<dyn Task>, link: Link) {
    tokio::spawn(async move {
        let mut seen = 0;
        while let Ok(count) = task.oom(seen).await {
            seen = count;
            link.send(&Message::Event(Event::OutOfMemory));
        }
    });
}

fn mount_image() -> Result<()> {
    fs::create_dir_all(IMAGE).context(IMAGE)?;
    rustix::mount::mount(IMAGE_DISK, IMAGE, "erofs", MountFlags::RDONLY | MountFlags::NODEV, c"")
        .context("mount")
}

/// Overlays the container's disk on the image.
fn mount_root(rootfs: &Path) -> Result<()> {
    for directory in [Path::new(DISK), rootfs] {
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    // Blocks of deleted files are given back to the host's sparse file. Its inode tables are zeroes already, being holes
    // of that file: nothing is to be initialised in the background.
    rustix::mount::mount(WRITABLE_DISK, DISK, "ext4", MountFlags::NODEV, c"discard,noinit_itable")
        .context("mount the writable disk")?;
    let (upper, work) = (Path::new(DISK).join("upper"), Path::new(DISK).join("work"));
    if !upper.exists() {
        // The upper directory stands for the container's root directory: it gets the image's owner and mode.
        let scratch = Path::new(DISK).join("upper.new");
        fs::create_dir_all(&scratch).context("upper directory")?;
        let image = fs::metadata(IMAGE).context("image")?;
        std::os::unix::fs::chown(&scratch, Some(image.uid()), Some(image.gid()))
            .context("upper directory")?;
        fs::set_permissions(&scratch, fs::Permissions::from_mode(image.mode() & 0o7777))
            .context("upper directory")?;
        fs::rename(&scratch, &upper).context("upper directory")?;
    }
    fs::create_dir_all(&work).context("work directory")?;
    let options = format!("lowerdir={IMAGE},upperdir={},workdir={}", upper.display(), work.display());
    let options = std::ffi::CString::new(options).context("overlay options")?;
    rustix::mount::mount("overlay", rootfs, "overlay", MountFlags::empty(), Some(options.as_c_str()))
        .context("overlay")
}

/// Writes the specification, and the small files that it names without their content.
fn write_spec(asked: &Prepare) -> Result<()> {
    fs::create_dir_all(guest_paths::FILES).context(guest_paths::FILES)?;
    for name in &asked.files {
        let path = Path::new(guest_paths::FILES).join(name);
        fs::write(&path, "").with_context(|| path.display().to_string())?;
    }
    let path = Path::new(guest_paths::BUNDLE).join(bundle::OCI_SPEC);
    fs::write(&path, &asked.spec).with_context(|| path.display().to_string())
}
