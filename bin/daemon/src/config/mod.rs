//! What the daemon was told: flags as dockerd's, a file as dockerd's `daemon.json`, and defaults.

mod file;
mod flags;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use cofferdam_hypervisor::template::Bounds;
use cofferdam_model::{Instance, Isolation};
use sha2::{Digest as _, Sha256};

pub use file::FileError;
pub use flags::Flags;

use crate::containers::config::{LogConfig, Ulimit};
use crate::containers::logs;
use crate::policy::Policy;
use crate::server::{Host, ListenError, TlsFiles};

/// Where records and images live.
pub const DATA_ROOT: &str = "/var/lib/cofferdam";
/// Where sockets and bundles live: gone after a reboot, as they should be.
pub const EXEC_ROOT: &str = "/run/cofferdam";
/// Read when it exists and no other file is named.
pub const CONFIG_FILE: &str = "/etc/cofferdam/daemon.json";
/// Owns the socket when it exists and no other group is named.
pub const GROUP: &str = "cofferdam";

/// Where systemd's journal listens.
const JOURNALD_SOCKET: &str = "/run/systemd/journal/socket";

/// Memory of a VM whose container has no limit, and the least that a guest's kernel and agent can do with.
const VM_MEMORY: u64 = 512 << 20;
const LEAST_VM_MEMORY: u64 = 192 << 20;
/// Bounds of the templates: an image template takes some 100 MiB.
const TEMPLATES: usize = 16;
const TEMPLATE_SPACE: u64 = 4 << 30;

/// The whole configuration, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Addresses to serve on, at least one.
    pub hosts: Vec<Host>,
    /// Records and images.
    pub data_root: PathBuf,
    /// Sockets and bundles.
    pub exec_root: PathBuf,
    /// The daemon's own PID.
    pub pidfile: PathBuf,
    /// The level of containers that name none.
    pub default_isolation: Isolation,
    /// `debug`, `info`, `warn`, `error` or `fatal`.
    pub log_level: String,
    /// How output is recorded where a container does not say.
    pub log: LogConfig,
    /// systemd's journal.
    pub journald_socket: PathBuf,
    /// The socket's group, when one was asked for.
    pub group: Option<String>,
    /// Certificates for `tcp://`.
    pub tls: Option<TlsFiles>,
    /// The default network's bridge.
    pub bridge: Bridge,
    /// The bridge's own address and its subnet's prefix length.
    pub bip: Option<(Ipv4Addr, u8)>,
    /// Name servers for containers; empty means the host's.
    pub dns: Vec<IpAddr>,
    /// Search domains for containers; empty means the host's.
    pub dns_search: Vec<String>,
    /// Registries (`host[:port]`, or a subnet) that may be spoken to without TLS or with an unknown certificate.
    pub insecure_registries: Vec<String>,
    /// Resource limits of containers that name none of that kind.
    pub default_ulimits: Vec<Ulimit>,
    /// Which images' containers may have which level.
    pub policy: Policy,
    /// Utility VMs.
    pub vm: VmConfig,
    /// What everything on the host is named after.
    pub instance: Instance,
    /// Where the utility VMs' kernel and initial RAM disk are, when they are not where they are looked for.
    pub guest: Option<PathBuf>,
}

/// Utility VMs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmConfig {
    /// Whether they are cloned from templates.
    pub clone: bool,
    /// Memory in bytes where a container has no limit.
    pub memory: u64,
    /// Where templates are.
    pub templates: PathBuf,
    /// How many are kept, and how much of the disk they may take.
    pub bounds: Bounds,
}

/// The default network's bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bridge {
    /// Named after the instance.
    Own,
    /// Another name for it.
    Named(String),
    /// There is no default network.
    None,
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file.
    #[error("unable to configure the daemon with file {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: FileError,
    },
    /// An address to serve on.
    #[error(transparent)]
    Host(#[from] ListenError),
    /// Not a level.
    #[error(transparent)]
    Isolation(#[from] cofferdam_model::UnknownIsolation),
    /// Not an instance name.
    #[error(transparent)]
    Instance(#[from] cofferdam_model::InvalidInstance),
    /// Any other value.
    #[error("invalid value {value:?} for --{flag}: {reason}")]
    Value {
        /// The flag.
        flag: &'static str,
        /// What was given.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A log driver, or its options.
    #[error("failed to set log opts: {0}")]
    Log(String),
    /// TLS was asked for without its files.
    #[error("--tlsverify needs --tlscacert, --tlscert and --tlskey")]
    TlsFiles,
    /// Clients would not be checked.
    #[error("--tls without --tlsverify would let anyone in: use --tlsverify")]
    TlsUnverified,
    /// Names that would fight.
    #[error("--bip has no effect with --bridge none")]
    BipWithoutBridge,
}

impl Config {
    /// Joins flags, file and defaults.
    pub fn load(flags: Flags) -> Result<Self, ConfigError> {
        let path = flags.config_file.clone().unwrap_or_else(|| PathBuf::from(CONFIG_FILE));
        let merged = match (file::read(&path), &flags.config_file) {
            (Err(FileError::Read(error)), None) if error.kind() == std::io::ErrorKind::NotFound => Ok(flags),
            (Err(error), _) => Err(error),
            (Ok(settings), _) => file::merge(flags, settings),
        };
        Self::from_flags(merged.map_err(|source| ConfigError::File { path, source })?)
    }

    pub(crate) fn from_flags(flags: Flags) -> Result<Self, ConfigError> {
        let data_root = absolute(flags.data_root, DATA_ROOT, "data-root")?;
        let exec_root = absolute(flags.exec_root, EXEC_ROOT, "exec-root")?;
        let instance = match flags.instance {
            Some(name) => name.parse()?,
            None => instance_of(&data_root),
        };
        let mut hosts = flags.hosts.iter().map(|host| host.parse()).collect::<Result<Vec<Host>, _>>()?;
        if hosts.is_empty() {
            hosts.push(Host::Unix(exec_root.join("cofferdam.sock")));
        }
        let bridge = match flags.bridge.as_deref() {
            None | Some("") => Bridge::Own,
            Some("none") => Bridge::None,
            Some(name) => Bridge::Named(bridge_name(name)?),
        };
        let bip = flags.bip.as_deref().map(bridge_address).transpose()?;
        if bip.is_some() && bridge == Bridge::None {
            return Err(ConfigError::BipWithoutBridge);
        }
        let dns = flags.dns.iter().map(|text| {
            let invalid =
                |_| ConfigError::Value { flag: "dns", value: text.clone(), reason: "want an IP address" };
            text.parse().map_err(invalid)
        });
        let vm = VmConfig {
            clone: match flags.vm_start.as_deref() {
                None | Some("clone") => true,
                Some("boot") => false,
                Some(value) => {
                    let (flag, value) = ("vm-start", value.to_owned());
                    return Err(ConfigError::Value { flag, value, reason: "want clone or boot" });
                }
            },
            memory: size(flags.vm_memory, VM_MEMORY, LEAST_VM_MEMORY, "vm-memory")?,
            templates: absolute(flags.template_root, data_root.join("templates"), "template-root")?,
            bounds: Bounds {
                count: flags.template_count.unwrap_or(TEMPLATES),
                bytes: size(flags.template_space, TEMPLATE_SPACE, 0, "template-space")?,
            },
        };
        Ok(Self {
            hosts,
            pidfile: absolute(flags.pidfile, exec_root.join("cofferdamd.pid"), "pidfile")?,
            data_root,
            exec_root,
            default_isolation: flags.default_isolation.as_deref().unwrap_or("process").parse()?,
            log_level: log_level(flags.log_level, flags.debug)?,
            log: log_config(flags.log_driver, &flags.log_opts)?,
            journald_socket: flags.journald_socket.unwrap_or_else(|| JOURNALD_SOCKET.into()),
            group: flags.group,
            tls: match (flags.tls, flags.tlsverify, flags.tlscacert, flags.tlscert, flags.tlskey) {
                (_, true, Some(ca), Some(certificate), Some(key)) => Some(TlsFiles { ca, certificate, key }),
                (_, true, ..) => return Err(ConfigError::TlsFiles),
                (true, false, ..) => return Err(ConfigError::TlsUnverified),
                (false, false, ..) => None,
            },
            bridge,
            bip,
            dns: dns.collect::<Result<_, _>>()?,
            dns_search: flags.dns_search,
            insecure_registries: flags.insecure_registries,
            default_ulimits: flags.default_ulimits,
            policy: flags.isolation_policy.unwrap_or_default(),
            vm,
            instance,
            guest: flags.guest.map(guest_directory).transpose()?,
        })
    }

    /// The default network's bridge, unless there is none.
    pub fn bridge_name(&self) -> Option<String> {
        match &self.bridge {
            Bridge::Own => Some(self.instance.bridge()),
            Bridge::Named(name) => Some(name.clone()),
            Bridge::None => None,
        }
    }
}

/// `default` for the default root; any other root gets a name of its own, always the same, so that daemons with
/// separate roots run side by side.
fn instance_of(data_root: &Path) -> Instance {
    let name = if data_root == Path::new(DATA_ROOT) {
        "default".to_owned()
    } else {
        hex::encode(&Sha256::digest(data_root.as_os_str().as_encoded_bytes())[..4])
    };
    name.parse().expect("eight hexadecimal digits are an instance name")
}

fn absolute(
    given: Option<PathBuf>,
    default: impl Into<PathBuf>,
    flag: &'static str,
) -> Result<PathBuf, ConfigError> {
    let path = given.unwrap_or_else(|| default.into());
    if path.as_os_str().is_empty() {
        return Err(ConfigError::Value { flag, value: String::new(), reason: "want a path" });
    }
    // Without `..` and symbolic links resolved as far as it exists, so that one directory has one name.
    std::fs::canonicalize(&path).or_else(|_not_there_yet| std::path::absolute(&path)).map_err(|_unusable| {
        ConfigError::Value { flag, value: path.display().to_string(), reason: "cannot be made absolute" }
    })
}

/// A size as Docker's flags have it: a number of bytes, or of a unit (`512m`).
fn size(given: Option<String>, default: u64, least: u64, flag: &'static str) -> Result<u64, ConfigError> {
    let Some(value) = given else { return Ok(default) };
    match cofferdam_api::size::bytes(&value).map(u64::try_from) {
        Ok(Ok(bytes)) if bytes >= least => Ok(bytes),
        _ => Err(ConfigError::Value { flag, value, reason: "want a size such as 512m, and enough of it" }),
    }
}

/// Refused at once when it is not one: a daemon told where the guest is has no other to fall back on.
fn guest_directory(given: PathBuf) -> Result<PathBuf, ConfigError> {
    let directory = absolute(Some(given), "", "guest")?;
    if ["vmlinuz", "initrd.img"].iter().all(|name| directory.join(name).is_file()) {
        return Ok(directory);
    }
    let value = directory.display().to_string();
    Err(ConfigError::Value { flag: "guest", value, reason: "want a directory with vmlinuz and initrd.img" })
}

/// Docker's: one JSON file that is never rotated.
pub fn default_log() -> LogConfig {
    LogConfig { driver: "json-file".to_owned(), ..LogConfig::default() }
}

fn log_config(driver: Option<String>, options: &[String]) -> Result<LogConfig, ConfigError> {
    let mut log = default_log();
    if let Some(driver) = driver {
        log.driver = driver;
    }
    for option in options {
        let (name, value) = option.split_once('=').ok_or_else(|| ConfigError::Value {
            flag: "log-opt",
            value: option.clone(),
            reason: "want NAME=VALUE",
        })?;
        log.options.insert(name.to_owned(), value.to_owned());
    }
    logs::options::settings(&log).map_err(ConfigError::Log)?;
    Ok(log)
}

fn log_level(given: Option<String>, debug: bool) -> Result<String, ConfigError> {
    match given {
        _ if debug => Ok("debug".to_owned()),
        None => Ok("info".to_owned()),
        Some(level) if ["trace", "debug", "info", "warn", "error", "fatal"].contains(&level.as_str()) => {
            Ok(level)
        }
        Some(value) => Err(ConfigError::Value {
            flag: "log-level",
            value,
            reason: "want debug, info, warn, error or fatal",
        }),
    }
}

fn bridge_name(name: &str) -> Result<String, ConfigError> {
    // What the kernel takes as an interface name (15 bytes, no slash, no space).
    let good = name.len() <= 15
        && ![".", ".."].contains(&name)
        && name.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b':');
    if good {
        Ok(name.to_owned())
    } else {
        Err(ConfigError::Value { flag: "bridge", value: name.to_owned(), reason: "want an interface name" })
    }
}

fn bridge_address(text: &str) -> Result<(Ipv4Addr, u8), ConfigError> {
    let parsed = text.split_once('/').and_then(|(address, prefix)| {
        let prefix: u8 = prefix.parse().ok()?;
        (8..=30).contains(&prefix).then_some((address.parse().ok()?, prefix))
    });
    parsed.ok_or_else(|| ConfigError::Value {
        flag: "bip",
        value: text.to_owned(),
        reason: "want an IPv4 address with its prefix, as 172.30.0.1/16",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(args: &[&str]) -> Result<Config, String> {
        let flags = Flags::parse_from_args(args).map_err(|error| error.to_string())?;
        Config::from_flags(flags).map_err(|error| error.to_string())
    }

    #[test]
    fn no_flags_are_the_defaults_of_a_distribution() {
        let config = config(&[]).unwrap();
        assert_eq!(config.hosts, [Host::Unix("/run/cofferdam/cofferdam.sock".into())]);
        assert_eq!(config.instance.as_str(), "default");
        assert_eq!(config.bridge_name().unwrap(), "cfd-default");
        assert_eq!(config.default_isolation, Isolation::Process);
    }

    #[test]
    fn other_roots_get_names_of_their_own() {
        let (a, b) = (config(&["--data-root", "/x/a"]).unwrap(), config(&["--data-root", "/x/b"]).unwrap());
        assert_ne!(a.instance, b.instance);
        assert_eq!(a.instance, config(&["--data-root", "/x/a"]).unwrap().instance);
        let c = config(&["--exec-root", "/x/run"]).unwrap();
        assert_eq!(c.hosts, [Host::Unix("/x/run/cofferdam.sock".into())]);
        assert_eq!(c.pidfile, Path::new("/x/run/cofferdamd.pid"));
    }

    #[test]
    fn bad_values_are_named() {
        for (args, words) in [
            (vec!["--default-isolation", "vm"], r#"invalid isolation "vm""#),
            (vec!["-H", "ftp://x"], r#"unable to parse host "ftp://x""#),
            (vec!["--bip", "10.0.0.1"], r#"invalid value "10.0.0.1" for --bip"#),
            (vec!["--bridge", "none", "--bip", "10.0.0.1/24"], "--bip has no effect"),
            (vec!["--log-level", "loud"], r#"invalid value "loud" for --log-level"#),
            (vec!["--log-driver", "paper"], "failed to set log opts: logger: no log driver named 'paper'"),
            (vec!["--log-opt", "ink=red"], "unknown log opt 'ink' for json-file log driver"),
            (vec!["--log-opt", "max-size"], r#"invalid value "max-size" for --log-opt"#),
            (vec!["--tlsverify"], "--tlsverify needs"),
            (vec!["--tls"], "--tls without --tlsverify"),
            (vec!["--instance", "Much-Too-Long"], "invalid instance name"),
            (vec!["--vm-start", "resume"], r#"invalid value "resume" for --vm-start"#),
            (vec!["--vm-memory", "1k"], r#"invalid value "1k" for --vm-memory"#),
            (vec!["--guest", "/nowhere"], r#"invalid value "/nowhere" for --guest"#),
            (vec!["--dns", "example"], r#"invalid value "example" for --dns"#),
        ] {
            let error = config(&args).unwrap_err();
            assert!(error.contains(words), "{args:?}: {error}");
        }
    }
}
