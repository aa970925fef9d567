//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::containers::config::Ulimit;
use crate::policy::Policy;

/// A container engine in which every container has an isolation level.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "cofferdamd", version, about, long_about = None)]
pub struct Flags {
    /// Address to serve on: unix:///path or tcp://host:port (repeatable)
    #[arg(short = 'H', long = "host", value_name = "ADDRESS")]
    pub hosts: Vec<String>,
    /// Directory of records and images [default: /var/lib/cofferdam]
    #[arg(long, value_name = "DIR")]
    pub data_root: Option<PathBuf>,
    /// Directory of sockets and bundles [default: /run/cofferdam]
    #[arg(long, value_name = "DIR")]
    pub exec_root: Option<PathBuf>,
    /// File for the daemon's PID [default: <exec-root>/cofferdamd.pid]
    #[arg(short, long, value_name = "FILE")]
    pub pidfile: Option<PathBuf>,
    /// Configuration file [default: /etc/cofferdam/daemon.json]
    #[arg(long, value_name = "FILE")]
    pub config_file: Option<PathBuf>,
    /// Isolation of containers that name none: process or hyperv [default: process]
    #[arg(long, value_name = "LEVEL")]
    pub default_isolation: Option<String>,
    /// debug, info, warn, error or fatal [default: info]
    #[arg(short, long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// The same as --log-level debug
    #[arg(short = 'D', long)]
    pub debug: bool,
    /// Log driver of containers that name none: json-file, local, journald or none [default: json-file]
    #[arg(long, value_name = "DRIVER")]
    pub log_driver: Option<String>,
    /// Option of that log driver (repeatable)
    #[arg(long = "log-opt", value_name = "NAME=VALUE")]
    pub log_opts: Vec<String>,
    /// Socket of systemd's journal, for the log driver journald [default: /run/systemd/journal/socket]
    #[arg(long, value_name = "PATH")]
    pub journald_socket: Option<PathBuf>,
    /// Group of the Unix socket [default: cofferdam, if it exists]
    #[arg(short = 'G', long, value_name = "GROUP")]
    pub group: Option<String>,
    /// Bridge of the default network; "none" for no network [default: cfd-<instance>]
    #[arg(short, long, value_name = "NAME")]
    pub bridge: Option<String>,
    /// The bridge's address with its prefix [default: a free subnet]
    #[arg(long, value_name = "CIDR")]
    pub bip: Option<String>,
    /// Name server for containers (repeatable) [default: the host's]
    #[arg(long, value_name = "ADDRESS")]
    pub dns: Vec<String>,
    /// Search domain for containers (repeatable) [default: the host's]
    #[arg(long, value_name = "DOMAIN")]
    pub dns_search: Vec<String>,
    /// Registry that may be spoken to without TLS: host[:port] (repeatable; loopback always may)
    #[arg(long = "insecure-registry", value_name = "HOST")]
    pub insecure_registries: Vec<String>,
    /// Resource limit of containers that name none of that kind: name=soft[:hard] (repeatable)
    #[arg(long = "default-ulimit", value_name = "LIMIT", value_parser = ulimit)]
    pub default_ulimits: Vec<Ulimit>,
    /// Rules of the isolation policy; in the configuration file only.
    #[arg(skip)]
    pub isolation_policy: Option<Policy>,
    /// How utility VMs start: clone (of saved templates) or boot [default: clone]
    #[arg(long, value_name = "HOW")]
    pub vm_start: Option<String>,
    /// Memory of a utility VM whose container has no limit [default: 512m]
    #[arg(long, value_name = "SIZE")]
    pub vm_memory: Option<String>,
    /// Directory of VM templates; daemons may share one [default: <data-root>/templates]
    #[arg(long, value_name = "DIR")]
    pub template_root: Option<PathBuf>,
    /// How many VM templates are kept; the least recently used go first [default: 16]
    #[arg(long, value_name = "COUNT")]
    pub template_count: Option<usize>,
    /// Disk space for VM templates [default: 4g]
    #[arg(long, value_name = "SIZE")]
    pub template_space: Option<String>,
    /// Name for everything this daemon makes on the host [default: derived from the data root]
    #[arg(long, value_name = "NAME")]
    pub instance: Option<String>,
    /// Directory of the utility VMs' vmlinuz and initrd.img [default: beside this program, or the installed one]
    #[arg(long, value_name = "DIR")]
    pub guest: Option<PathBuf>,
    /// Accepted as dockerd does, but only with --tlsverify
    #[arg(long)]
    pub tls: bool,
    /// Serve tcp:// with TLS and let only clients in whose certificate --tlscacert has signed
    #[arg(long)]
    pub tlsverify: bool,
    /// Authority of the clients' certificates
    #[arg(long, value_name = "FILE")]
    pub tlscacert: Option<PathBuf>,
    /// The daemon's certificate
    #[arg(long, value_name = "FILE")]
    pub tlscert: Option<PathBuf>,
    /// The daemon's key
    #[arg(long, value_name = "FILE")]
    pub tlskey: Option<PathBuf>,
}

fn ulimit(text: &str) -> Result<Ulimit, String> {
    let limit = cofferdam_api::ulimit(text)?;
    let number = |value: Option<i64>| value.unwrap_or(-1);
    let name = limit.name.unwrap_or_default();
    Ok(Ulimit { name, soft: number(limit.soft), hard: number(limit.hard) })
}

#[cfg(test)]
impl Flags {
    /// Flags as a test writes them.
    pub fn parse_from_args(args: &[&str]) -> Result<Self, clap::Error> {
        Self::try_parse_from(std::iter::once(&"cofferdamd").chain(args))
    }
}
