//! The flags of `run` and `create`, as Docker names them.

use std::path::PathBuf;

use clap::Args;

use super::limits::Limits;
use crate::values;

/// What the container shall be.
#[derive(Debug, Default, Args)]
pub struct Options {
    /// Isolation level: process (the host's kernel) or hyperv (a kernel of its own in a utility VM)
    #[arg(long, value_name = "LEVEL", help_heading = "Isolation and rights")]
    pub isolation: Option<String>,
    /// Give extended privileges to the container
    #[arg(long, help_heading = "Isolation and rights")]
    pub privileged: bool,
    /// Add Linux capabilities
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',', help_heading = "Isolation and rights")]
    pub cap_add: Vec<String>,
    /// Drop Linux capabilities
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',', help_heading = "Isolation and rights")]
    pub cap_drop: Vec<String>,
    /// Security options (no-new-privileges, seccomp=FILE, seccomp=unconfined)
    #[arg(long, value_name = "OPTION", help_heading = "Isolation and rights")]
    pub security_opt: Vec<String>,
    /// Mount the container's root filesystem as read only
    #[arg(long, help_heading = "Isolation and rights")]
    pub read_only: bool,
    /// Username or UID (<name|uid>[:<group|gid>])
    #[arg(short, long, help_heading = "Isolation and rights")]
    pub user: Option<String>,
    /// Add additional groups to join
    #[arg(long, value_name = "GROUP", help_heading = "Isolation and rights")]
    pub group_add: Vec<String>,
    /// User namespace to use
    #[arg(long, value_name = "MODE", help_heading = "Isolation and rights")]
    pub userns: Option<String>,
    /// PID namespace to use
    #[arg(long, value_name = "MODE", help_heading = "Isolation and rights")]
    pub pid: Option<String>,
    /// IPC mode to use
    #[arg(long, value_name = "MODE", help_heading = "Isolation and rights")]
    pub ipc: Option<String>,
    /// UTS namespace to use
    #[arg(long, value_name = "MODE", help_heading = "Isolation and rights")]
    pub uts: Option<String>,
    /// Cgroup namespace to use (host or private)
    #[arg(long, value_name = "MODE", value_parser = ["host", "private"], help_heading = "Isolation and rights")]
    pub cgroupns: Option<String>,
    /// Add a host device to the container
    #[arg(long, value_name = "PATH[:PATH[:rwm]]", help_heading = "Isolation and rights")]
    pub device: Vec<String>,
    /// Add a rule to the cgroup allowed devices list
    #[arg(long, value_name = "RULE", help_heading = "Isolation and rights")]
    pub device_cgroup_rule: Vec<String>,
    /// Sysctl options
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Isolation and rights")]
    pub sysctl: Vec<String>,
    /// Runtime to use for this container
    #[arg(long, value_name = "NAME", help_heading = "Isolation and rights")]
    pub runtime: Option<String>,

    /// Keep STDIN open even if not attached
    #[arg(short, long)]
    pub interactive: bool,
    /// Allocate a pseudo-TTY
    #[arg(short, long)]
    pub tty: bool,
    /// Attach to STDIN, STDOUT or STDERR
    #[arg(short, long, value_name = "STREAM", value_parser = stream)]
    pub attach: Vec<String>,
    /// Assign a name to the container
    #[arg(long)]
    pub name: Option<String>,
    /// Set environment variables
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// Read in a file of environment variables
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// Set metadata on a container
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub label: Vec<String>,
    /// Read in a line delimited file of labels
    #[arg(long, value_name = "FILE")]
    pub label_file: Vec<PathBuf>,
    /// How a hyperv container's VM starts, if not as the daemon says: boot (no clone of a template)
    #[arg(long, value_name = "HOW", value_parser = ["boot"])]
    pub vm_start: Option<String>,
    /// Add an annotation to the container (passed through to the OCI runtime)
    #[arg(long, value_name = "NAME=VALUE")]
    pub annotation: Vec<String>,
    /// Working directory inside the container
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// Overwrite the default ENTRYPOINT of the image
    #[arg(long, value_name = "COMMAND")]
    pub entrypoint: Option<String>,
    /// Run an init inside the container that forwards signals and reaps processes
    #[arg(long)]
    pub init: bool,
    /// Restart policy to apply when a container exits (no, always, unless-stopped, on-failure[:MAX])
    #[arg(long, value_name = "POLICY")]
    pub restart: Option<String>,
    /// Signal to stop the container
    #[arg(long, value_name = "SIGNAL")]
    pub stop_signal: Option<String>,
    /// Timeout (in seconds) to stop a container
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub stop_timeout: Option<i64>,
    /// Write the container ID to the file
    #[arg(long, value_name = "FILE")]
    pub cidfile: Option<PathBuf>,
    /// Pull image before running (always, missing, never)
    #[arg(long, value_name = "WHEN", value_parser = ["always", "missing", "never"], default_value = "missing", hide_possible_values = true)]
    pub pull: String,
    /// Suppress the pull output
    #[arg(short, long)]
    pub quiet: bool,
    /// Set platform if server is multi-platform capable
    #[arg(long)]
    pub platform: Option<String>,
    /// Logging driver for the container (json-file, local, journald, none)
    #[arg(long, value_name = "DRIVER")]
    pub log_driver: Option<String>,
    /// Log driver options
    #[arg(long, value_name = "NAME=VALUE")]
    pub log_opt: Vec<String>,

    /// Command to run to check health
    #[arg(long, value_name = "COMMAND", help_heading = "Health")]
    pub health_cmd: Option<String>,
    /// Time between running the check (ms|s|m|h)
    #[arg(long, value_name = "DURATION", value_parser = values::duration, help_heading = "Health")]
    pub health_interval: Option<i64>,
    /// Consecutive failures needed to report unhealthy
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, help_heading = "Health")]
    pub health_retries: Option<i64>,
    /// Maximum time to allow one check to run (ms|s|m|h)
    #[arg(long, value_name = "DURATION", value_parser = values::duration, help_heading = "Health")]
    pub health_timeout: Option<i64>,
    /// Start period for the container to initialize before starting health-retries countdown (ms|s|m|h)
    #[arg(long, value_name = "DURATION", value_parser = values::duration, help_heading = "Health")]
    pub health_start_period: Option<i64>,
    /// Time between running the check during the start period (ms|s|m|h)
    #[arg(long, value_name = "DURATION", value_parser = values::duration, help_heading = "Health")]
    pub health_start_interval: Option<i64>,
    /// Disable any container-specified HEALTHCHECK
    #[arg(long, help_heading = "Health")]
    pub no_healthcheck: bool,

    /// Connect a container to a network (bridge, none, host, container:NAME, or one made by network create); more than
    /// once for several
    #[arg(long, alias = "net", value_name = "NETWORK", help_heading = "Network")]
    pub network: Vec<String>,
    /// Add a link to another container (CONTAINER:ALIAS)
    #[arg(long, value_name = "CONTAINER:ALIAS", help_heading = "Network")]
    pub link: Vec<String>,
    /// Add a network-scoped alias for the container
    #[arg(long, alias = "net-alias", value_name = "NAME", help_heading = "Network")]
    pub network_alias: Vec<String>,
    /// Container host name
    #[arg(short = 'h', long, value_name = "NAME", help_heading = "Network")]
    pub hostname: Option<String>,
    /// Container NIS domain name
    #[arg(long, value_name = "NAME", help_heading = "Network")]
    pub domainname: Option<String>,
    /// Set custom DNS servers
    #[arg(long, value_name = "IP", help_heading = "Network")]
    pub dns: Vec<String>,
    /// Set DNS options
    #[arg(long, alias = "dns-opt", value_name = "OPTION", help_heading = "Network")]
    pub dns_option: Vec<String>,
    /// Set custom DNS search domains
    #[arg(long, value_name = "DOMAIN", help_heading = "Network")]
    pub dns_search: Vec<String>,
    /// Add a custom host-to-IP mapping (host:ip)
    #[arg(long, value_name = "HOST:IP", help_heading = "Network")]
    pub add_host: Vec<String>,
    /// IPv4 address
    #[arg(long, value_name = "IP", help_heading = "Network")]
    pub ip: Option<String>,
    /// IPv6 address
    #[arg(long, value_name = "IP", help_heading = "Network")]
    pub ip6: Option<String>,
    /// Container MAC address
    #[arg(long, value_name = "MAC", help_heading = "Network")]
    pub mac_address: Option<String>,
    /// Publish a container's port(s) to the host
    #[arg(short, long, value_name = "[[IP:]HOST:]CONTAINER", value_parser = published, help_heading = "Network")]
    pub publish: Vec<Ports>,
    /// Publish all exposed ports to random ports
    #[arg(short = 'P', long, help_heading = "Network")]
    pub publish_all: bool,
    /// Expose a port or a range of ports
    #[arg(long, value_name = "PORT", value_parser = published, help_heading = "Network")]
    pub expose: Vec<Ports>,

    /// Bind mount a volume
    #[arg(short, long, value_name = "SOURCE:TARGET[:OPTIONS]", help_heading = "Files")]
    pub volume: Vec<String>,
    /// Attach a filesystem mount to the container (type=bind|volume|tmpfs,source=…,target=…)
    #[arg(long, value_name = "MOUNT", value_parser = mount, help_heading = "Files")]
    pub mount: Vec<cofferdam_client::models::Mount>,
    /// Mount a tmpfs directory
    #[arg(long, value_name = "TARGET[:OPTIONS]", help_heading = "Files")]
    pub tmpfs: Vec<String>,
    /// Mount volumes from the specified container(s)
    #[arg(long, value_name = "CONTAINER", help_heading = "Files")]
    pub volumes_from: Vec<String>,
    /// Size of /dev/shm
    #[arg(long, value_name = "BYTES", value_parser = values::bytes, help_heading = "Files")]
    pub shm_size: Option<i64>,
    /// Storage driver options for the container
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Files")]
    pub storage_opt: Vec<String>,

    /// Those that can be changed later, too.
    #[command(flatten)]
    pub limits: Limits,
    /// Tune container memory swappiness (0 to 100)
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, help_heading = "Limits")]
    pub memory_swappiness: Option<i64>,
    /// Block IO weight (relative device weight)
    #[arg(long, value_name = "DEVICE:WEIGHT", value_parser = values::weight_of_disk, help_heading = "Limits")]
    pub blkio_weight_device: Vec<cofferdam_client::models::ResourcesBlkioWeightDevice>,
    /// Limit read rate (bytes per second) from a device
    #[arg(long, value_name = "DEVICE:BYTES", value_parser = values::bytes_of_disk, help_heading = "Limits")]
    pub device_read_bps: Vec<cofferdam_client::models::ThrottleDevice>,
    /// Limit write rate (bytes per second) to a device
    #[arg(long, value_name = "DEVICE:BYTES", value_parser = values::bytes_of_disk, help_heading = "Limits")]
    pub device_write_bps: Vec<cofferdam_client::models::ThrottleDevice>,
    /// Limit read rate (IO per second) from a device
    #[arg(long, value_name = "DEVICE:NUMBER", value_parser = values::accesses_of_disk, help_heading = "Limits")]
    pub device_read_iops: Vec<cofferdam_client::models::ThrottleDevice>,
    /// Limit write rate (IO per second) to a device
    #[arg(long, value_name = "DEVICE:NUMBER", value_parser = values::accesses_of_disk, help_heading = "Limits")]
    pub device_write_iops: Vec<cofferdam_client::models::ThrottleDevice>,
    /// Ulimit options
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_parser = values::ulimit, help_heading = "Limits")]
    pub ulimit: Vec<cofferdam_client::models::ResourcesUlimits>,
    /// Tune host's OOM preferences (-1000 to 1000)
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, help_heading = "Limits")]
    pub oom_score_adj: Option<i64>,
    /// Disable OOM Killer
    #[arg(long, help_heading = "Limits")]
    pub oom_kill_disable: bool,
    /// Optional parent cgroup for the container
    #[arg(long, value_name = "CGROUP", help_heading = "Limits")]
    pub cgroup_parent: Option<String>,

    /// Image, and command with its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "IMAGE [COMMAND] [ARG...]")]
    pub image_and_command: Vec<String>,
}

/// The ports of one flag: a range is several. (A list as a type of its own, for clap would make one of all flags.)
#[derive(Clone, Debug)]
pub struct Ports(pub Vec<values::Published>);

fn published(text: &str) -> Result<Ports, String> {
    values::publish(text).map(Ports)
}

fn mount(text: &str) -> Result<cofferdam_client::models::Mount, String> {
    values::mount(text)
}

fn stream(text: &str) -> Result<String, String> {
    let name = text.to_ascii_lowercase();
    match name.as_str() {
        "stdin" | "stdout" | "stderr" => Ok(name),
        _ => Err("valid streams are STDIN, STDOUT and STDERR".to_owned()),
    }
}

impl Options {
    /// The image.
    pub fn image(&self) -> String {
        crate::image_name::canonical(self.image_and_command.first().map_or("", String::as_str))
    }

    /// Whether standard input, output and error are attached.
    pub fn streams(&self, detached: bool) -> (bool, bool, bool) {
        let named = |name: &str| self.attach.iter().any(|stream| stream == name);
        match (detached, self.attach.is_empty()) {
            (true, _) => (false, false, false),
            (false, true) => (self.interactive, true, true),
            (false, false) => (named("stdin"), named("stdout"), named("stderr")),
        }
    }
}
