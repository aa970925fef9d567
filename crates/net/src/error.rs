//! What can go wrong with a network.

use std::io;

/// A network operation failed.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The kernel refused, or the socket to it failed.
    #[error("cannot {doing}")]
    Netlink {
        /// What was being done, with the interface's name, and the kernel's own words where it gave some.
        doing: String,
        /// The kernel's reason.
        source: io::Error,
    },
    /// No interface has this name.
    #[error("no such interface: {0}")]
    NoSuchLink(String),
    /// Another kind of interface has the bridge's name.
    #[error("{0} exists and is not a bridge")]
    NotABridge(String),
    /// The text is no MAC address.
    #[error("invalid MAC address {0:?}")]
    InvalidMac(String),
    /// Every private range that we know overlaps an address or a route of the host.
    #[error("no private IPv4 subnet is free on this host")]
    NoFreeSubnet,
    /// The guest has no network card, or several and none stands out.
    #[error("cannot tell the network card among the interfaces: {}", if .0.is_empty() { "there are none" } else { .0 })]
    NoSingleCard(String),
    /// Forwarding could not be switched on; the bridge works but for outbound traffic.
    #[error("cannot switch on IP forwarding")]
    Forwarding(#[source] io::Error),
    /// `nft` cannot be started; the bridge works but for outbound traffic.
    #[error("cannot run nft, so containers have no outbound network")]
    NoNft(#[source] io::Error),
    /// `nft` or the kernel refused the rules; the bridge works but for outbound traffic.
    #[error("nft refused the rules, so containers have no outbound network: {0}")]
    NftRefused(String),
    /// The calling thread's network namespace could not be named.
    #[error("cannot open the network namespace")]
    Namespace(#[source] io::Error),
    /// The kernel does not take the program that tells a VM's networks apart.
    #[error("cannot join a VM to several networks")]
    Program(#[source] io::Error),
    /// The TAP device for a VM could not be made.
    #[error("cannot create a TAP device")]
    Tap(#[source] io::Error),
}

impl NetError {
    /// Whether [`crate::ensure_bridge`] has got the bridge itself up, and only outbound traffic is missing.
    #[must_use]
    pub fn bridge_is_up(&self) -> bool {
        matches!(self, Self::Forwarding(_) | Self::NoNft(_) | Self::NftRefused(_))
    }

    /// What a user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoNft(_) => Some("install the nftables package"),
            Self::NftRefused(_) => Some("load the kernel modules nf_tables and nft_masq"),
            Self::Forwarding(_) => Some("set net.ipv4.ip_forward to 1"),
            Self::NoFreeSubnet => Some("choose one with --bip"),
            Self::Tap(_) => Some("load the kernel module tun"),
            Self::Program(_) => Some("it needs a kernel with CONFIG_BPF_SYSCALL and CONFIG_NET_CLS_BPF"),
            _ => None,
        }
    }

    /// Whether the kernel's reason was this error number.
    pub(crate) fn is(&self, errno: rustix::io::Errno) -> bool {
        matches!(self, Self::Netlink { source, .. } if source.raw_os_error() == Some(errno.raw_os_error()))
    }
}
