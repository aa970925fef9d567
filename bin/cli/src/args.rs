//! The tree of commands. Their own arguments are beside their code, in [`crate::commands`].

use clap::{ArgAction, Parser, Subcommand};

use crate::commands::{
    attach, cmdlet, commit, completion, compute, cp, create, df, diff, events, exec, export, history,
    image_prune, images, import, info, inspect, install, lifecycle, load, logs, network, policy, port, prune,
    ps, pull, pwsh, rmi, run, save, start, stats, system_prune, tag, template, top, update, version, volume,
    wait,
};
use crate::doctor;

/// A container engine with two isolation levels: processes on this host's kernel, or a kernel of their own
#[derive(Debug, Parser)]
#[command(
    name = "cofferdam",
    bin_name = "cofferdam",
    version = concat!("version ", env!("CARGO_PKG_VERSION")),
    disable_help_flag = true,
    disable_version_flag = true,
    subcommand_required = true,
    args_override_self = true,
    infer_long_args = false,
    max_term_width = 110
)]
pub struct Cli {
    /// Daemon to talk to: unix:///path or tcp://host:port (else COFFERDAM_HOST, DOCKER_HOST, the default socket)
    #[arg(short = 'H', long, global = true, value_name = "HOST", help_heading = "Global options")]
    pub host: Option<String>,
    /// Directory of Docker's client configuration, for credentials (else DOCKER_CONFIG, ~/.docker)
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub config: Option<std::path::PathBuf>,
    /// Print help
    #[arg(long, global = true, action = ArgAction::HelpShort, help_heading = "Global options")]
    help: Option<bool>,
    /// Print version information and quit
    #[arg(short = 'v', long, action = ArgAction::Version)]
    version: Option<bool>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// A command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// One of a container.
    #[command(flatten)]
    Container(ContainerVerb),
    /// One of an image.
    #[command(flatten)]
    Image(ImageVerb),
    /// One of the daemon.
    #[command(flatten)]
    System(SystemVerb),
    /// List containers
    Ps(ps::Arguments),
    /// List images
    Images(images::Arguments),
    /// Remove one or more images
    Rmi(rmi::Arguments),
    /// Show everything about containers and images
    Inspect(inspect::Arguments),
    /// Manage containers
    #[command(name = "container", subcommand)]
    Containers(ContainerGroup),
    /// Manage images
    #[command(name = "image", subcommand)]
    ImageGroup(ImageGroup),
    /// Manage the engine
    #[command(name = "system", subcommand)]
    SystemGroup(SystemGroup),
    /// See what runs containers and virtual machines on the host
    #[command(subcommand)]
    Compute(ComputeGroup),
    /// Manage networks
    #[command(subcommand)]
    Network(NetworkGroup),
    /// See which images may run at which isolation level
    #[command(subcommand)]
    Policy(PolicyGroup),
    /// Manage the saved VMs that hyperv containers start from
    #[command(subcommand)]
    Template(TemplateGroup),
    /// Manage volumes
    #[command(subcommand)]
    Volume(VolumeGroup),
    /// A console for PowerShell lines with the cmdlets of the Containers module
    Pwsh(pwsh::Arguments),
    /// Run one cmdlet of the Containers module for a program: JSON in, JSON lines out
    Cmdlet(cmdlet::Arguments),
    /// Show the versions of client and daemon
    Version(version::Arguments),
    /// Check what works on this host and say what to do about the rest
    Doctor(doctor::Arguments),
    /// Print a completion script for a shell
    Completion(completion::Arguments),
    /// A question of the doctor's that may hang, asked in a process of its own.
    #[command(name = "doctor-kvm-probe", hide = true)]
    KvmProbe,
}

/// Verbs that stand alone and under `container`.
#[derive(Debug, Subcommand)]
pub enum ContainerVerb {
    /// Create and run a new container from an image
    Run(Box<run::Arguments>),
    /// Create a new container
    Create(Box<create::Arguments>),
    /// Start one or more stopped containers
    Start(start::Arguments),
    /// Attach local standard input, output, and error streams to a running container
    Attach(attach::Arguments),
    /// Execute a command in a running container
    Exec(exec::Arguments),
    /// Create a new image from a container's changes
    Commit(commit::Arguments),
    /// Copy files/folders between a container and the local filesystem
    Cp(cp::Arguments),
    /// Inspect changes to files or directories on a container's filesystem
    Diff(diff::Arguments),
    /// Export a container's filesystem as a tar archive
    Export(export::Arguments),
    /// Fetch the logs of a container
    Logs(logs::Arguments),
    /// Display the running processes of a container
    Top(top::Arguments),
    /// Display a live stream of container(s) resource usage statistics
    Stats(stats::Arguments),
    /// List port mappings or a specific mapping for the container
    Port(port::Arguments),
    /// Block until one or more containers stop, then print their exit codes
    Wait(wait::Arguments),
    /// Stop one or more running containers
    Stop(lifecycle::Stop),
    /// Restart one or more containers
    Restart(lifecycle::Restart),
    /// Kill one or more running containers
    Kill(lifecycle::Kill),
    /// Pause all processes within one or more containers
    Pause(lifecycle::Pause),
    /// Unpause all processes within one or more containers
    Unpause(lifecycle::Unpause),
    /// Rename a container
    Rename(lifecycle::Rename),
    /// Update configuration of one or more containers
    Update(Box<update::Arguments>),
    /// Remove one or more containers
    #[command(visible_alias = "remove")]
    Rm(lifecycle::Remove),
}

/// `container …`
#[derive(Debug, Subcommand)]
pub enum ContainerGroup {
    /// One that stands alone, too.
    #[command(flatten)]
    Verb(ContainerVerb),
    /// List containers
    #[command(visible_aliases = ["list", "ps"])]
    Ls(ps::Arguments),
    /// Show everything about one or more containers
    Inspect(inspect::ContainerArguments),
    /// Remove all stopped containers
    Prune(prune::Arguments),
}

/// Verbs that stand alone and under `image`.
#[derive(Debug, Subcommand)]
pub enum ImageVerb {
    /// Download an image from a registry
    Pull(pull::Arguments),
    /// Load an image from a tar archive or standard input
    Load(load::Arguments),
    /// Save one or more images to a tar archive (streamed to STDOUT by default)
    Save(save::Arguments),
    /// Import the contents from a tarball to create a filesystem image
    Import(import::Arguments),
    /// Give an image a further name
    Tag(tag::Arguments),
    /// Show the history of an image
    History(history::Arguments),
}

/// `image …`
#[derive(Debug, Subcommand)]
pub enum ImageGroup {
    /// One that stands alone, too.
    #[command(flatten)]
    Verb(ImageVerb),
    /// List images
    #[command(visible_alias = "list")]
    Ls(images::Arguments),
    /// Show everything about one or more images
    Inspect(inspect::ImageArguments),
    /// Remove one or more images
    #[command(visible_alias = "remove")]
    Rm(rmi::Arguments),
    /// Remove unused images
    Prune(image_prune::Arguments),
    /// Make a built-in image that needs no registry: nanoserver, windowsservercore
    Install(install::Arguments),
}

/// `compute …`
#[derive(Debug, Subcommand)]
pub enum ComputeGroup {
    /// List compute processes: this engine's and, to be looked at only, other engines'
    #[command(visible_alias = "list")]
    Ls(compute::List),
    /// Stop one or more of this engine's
    Stop(compute::Stop),
    /// Show everything about one or more compute processes
    Inspect(compute::Inspect),
}

/// `network …`
#[derive(Debug, Subcommand)]
pub enum NetworkGroup {
    /// Create a network
    Create(network::Create),
    /// List networks
    #[command(visible_alias = "list")]
    Ls(network::List),
    /// Show everything about one or more networks
    Inspect(inspect::NetworkArguments),
    /// Remove one or more networks
    #[command(visible_alias = "remove")]
    Rm(network::Remove),
    /// Remove all unused networks
    Prune(network::Prune),
    /// Connect a container to a network
    Connect(network::Connect),
    /// Disconnect a container from a network
    Disconnect(network::Disconnect),
}

/// `policy …`
#[derive(Debug, Subcommand)]
pub enum PolicyGroup {
    /// Show the rules of the isolation policy
    #[command(visible_alias = "list")]
    Ls(policy::List),
    /// Explain at which levels an image may run, and why
    Test(policy::Test),
}

/// `template …`
#[derive(Debug, Subcommand)]
pub enum TemplateGroup {
    /// List templates
    #[command(visible_alias = "list")]
    Ls(template::List),
    /// Remove one or more templates; containers that were started from them go on
    #[command(visible_alias = "remove")]
    Rm(template::Remove),
    /// Make the template for a class of containers now
    Build(template::Build),
}

/// `volume …`
#[derive(Debug, Subcommand)]
pub enum VolumeGroup {
    /// Create a volume
    Create(volume::Create),
    /// Show everything about one or more volumes
    Inspect(inspect::VolumeArguments),
    /// List volumes
    #[command(visible_alias = "list")]
    Ls(volume::List),
    /// Remove unused local volumes
    Prune(volume::Prune),
    /// Remove one or more volumes
    #[command(visible_alias = "remove")]
    Rm(volume::Remove),
}

/// Verbs that stand alone and under `system`.
#[derive(Debug, Subcommand)]
pub enum SystemVerb {
    /// Display system-wide information
    Info(info::Arguments),
    /// Get real time events from the daemon
    Events(events::Arguments),
}

/// `system …`
#[derive(Debug, Subcommand)]
pub enum SystemGroup {
    /// One that stands alone, too.
    #[command(flatten)]
    Verb(SystemVerb),
    /// Show disk usage
    Df(df::Arguments),
    /// Remove unused data
    Prune(system_prune::Arguments),
}
