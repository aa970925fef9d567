//! rtnetlink, synchronously: requests are batched into one send, answers are read down to the few fields used here.

use std::io;
use std::net::Ipv4Addr;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NetlinkHeader,
    NetlinkMessage, NetlinkPayload, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::route::RouteMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::NetError;

/// One change that is asked of the kernel.
pub(crate) struct Request {
    pub(crate) message: RouteNetlinkMessage,
    /// `NLM_F_CREATE` and the like.
    pub(crate) flags: u16,
    /// What it does, after "cannot".
    pub(crate) doing: String,
}

impl Request {
    pub(crate) fn new(message: RouteNetlinkMessage, flags: u16, doing: impl Into<String>) -> Self {
        Self { message, flags, doing: doing.into() }
    }
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// `veth`, `bridge`; empty for a card.
    pub(crate) kind: String,
    pub(crate) is_ethernet: bool,
    pub(crate) is_loopback: bool,
}

/// An IPv4 address or route: the network, its prefix length, and for an address its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inet {
    pub(crate) address: Ipv4Addr,
    pub(crate) prefix: u8,
    pub(crate) index: u32,
}

/// A socket to the network namespace in which it was opened, wherever the process goes afterwards.
pub(crate) struct Rtnl {
    socket: Socket,
    sequence: u32,
}

/// Length and kind come before an attribute's value.
const NLA_HEADER: usize = 4;

/// Larger than any answer: the kernel fills at most 32 KiB at once.
const RECEIVE: usize = 64 * 1024;

impl Rtnl {
    pub(crate) fn open() -> Result<Self, NetError> {
        let open = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            // The kernel's words with an error, without our request in front of them. Older kernels do without.
            let _ = socket.set_ext_ack(true);
            let _ = socket.set_cap_ack(true);
            Ok(socket)
        };
        let socket = open().map_err(failed("open a netlink socket"))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Sends all requests at once. The kernel tries each of them; the first that failed is the error.
    pub(crate) fn send(&mut self, requests: Vec<Request>) -> Result<(), NetError> {
        if requests.is_empty() {
            return Ok(());
        }
        let first = self.sequence + 1;
        let mut bytes = Vec::new();
        let mut doing = Vec::new();
        for request in requests {
            self.encode(request.message, request.flags | NLM_F_ACK, &mut bytes);
            doing.push(request.doing);
        }
        self.socket.send(&bytes, 0).map_err(failed("send to the kernel"))?;
        let mut outcomes: Vec<Option<Result<(), Refusal>>> = doing.iter().map(|_| None).collect();
        while outcomes.iter().any(Option::is_none) {
            self.receive(|sequence, answer| {
                let index = sequence.checked_sub(first).and_then(|index| usize::try_from(index).ok());
                if let (Some(slot), Answer::End(outcome)) = (index.and_then(|i| outcomes.get_mut(i)), answer)
                {
                    *slot = Some(outcome);
                }
            })?;
        }
        for (outcome, doing) in outcomes.into_iter().zip(doing) {
            if let Some(Err(Refusal { source, said })) = outcome {
                let doing = if said.is_empty() { doing } else { format!("{doing} ({said})") };
                return Err(NetError::Netlink { doing, source });
            }
        }
        Ok(())
    }

    /// Asks one question and gives each part of the answer, with its message type, to `each`.
    fn ask(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        self.encode(message, flags, &mut bytes);
        let asked = self.sequence;
        self.socket.send(&bytes, 0)?;
        let is_dump = flags & NLM_F_DUMP == NLM_F_DUMP;
        let mut end = None;
        while end.is_none() {
            self.receive(|sequence, answer| {
                if sequence != asked {
                    return;
                }
                match answer {
                    Answer::Part(payload) => {
                        each(payload);
                        if !is_dump {
                            end = Some(Ok(()));
                        }
                    }
                    Answer::End(outcome) => end = Some(outcome.map_err(|refusal| refusal.source)),
                }
            })
            .map_err(io::Error::other)?;
        }
        end.unwrap_or(Ok(()))
    }

    fn encode(&mut self, message: RouteNetlinkMessage, flags: u16, bytes: &mut Vec<u8>) {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let start = bytes.len();
        bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
        message.serialize(&mut bytes[start..]);
    }

    /// Reads one datagram and hands on each message in it with its sequence number.
    fn receive(&self, mut each: impl FnMut(u32, Answer<'_>)) -> Result<(), NetError> {
        let mut buffer: Vec<u8> = Vec::with_capacity(RECEIVE);
        while let Err(error) = self.socket.recv(&mut buffer, 0) {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(failed("receive from the kernel")(error));
            }
        }
        let mut rest = buffer.as_slice();
        while !rest.is_empty() {
            let message = NetlinkBuffer::new_checked(rest)
                .map_err(|error| failed("read the kernel's answer")(io::Error::other(error)))?;
            let length = usize::try_from(message.length()).unwrap_or(usize::MAX);
            let payload = &rest[16..length];
            let answer = match message.message_type() {
                NLMSG_ERROR | NLMSG_DONE => Answer::End(outcome(payload)),
                _ => Answer::Part(payload),
            };
            each(message.sequence_number(), answer);
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(())
    }

    /// The interface of this name.
    pub(crate) fn find_link(&mut self, name: &str) -> Result<Option<Link>, NetError> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        let mut found = None;
        match self.ask(RouteNetlinkMessage::GetLink(message), 0, |part| found = parse_link(part)) {
            Ok(()) => Ok(found),
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) => Ok(None),
            Err(error) => Err(failed(format!("look for interface {name}"))(error)),
        }
    }

    /// The index of the interface of this name.
    pub(crate) fn index_of(&mut self, name: &str) -> Result<u32, NetError> {
        let link = self.find_link(name)?;
        link.map(|link| link.index).ok_or_else(|| NetError::NoSuchLink(name.to_owned()))
    }

    /// Every interface.
    pub(crate) fn links(&mut self) -> Result<Vec<Link>, NetError> {
        let mut links = Vec::new();
        let message = RouteNetlinkMessage::GetLink(LinkMessage::default());
        self.ask(message, NLM_F_DUMP, |part| links.extend(parse_link(part)))
            .map_err(failed("list interfaces"))?;
        Ok(links)
    }

    /// Every IPv4 address.
    pub(crate) fn addresses(&mut self) -> Result<Vec<Inet>, NetError> {
        let mut addresses = Vec::new();
        let message = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        self.ask(message, NLM_F_DUMP, |part| addresses.extend(parse_address(part)))
            .map_err(failed("list addresses"))?;
        Ok(addresses)
    }

    /// Every IPv4 route but default ones.
    pub(crate) fn routes(&mut self) -> Result<Vec<Inet>, NetError> {
        let mut routes = Vec::new();
        let message = RouteNetlinkMessage::GetRoute(RouteMessage::default());
        self.ask(message, NLM_F_DUMP, |part| routes.extend(parse_route(part)))
            .map_err(failed("list routes"))?;
        Ok(routes)
    }
}

enum Answer<'a> {
    Part(&'a [u8]),
    End(Result<(), Refusal>),
}

/// The kernel's no.
#[derive(Debug)]
struct Refusal {
    source: io::Error,
    /// Its own words; often empty.
    said: String,
}

fn failed(doing: impl Into<String>) -> impl FnOnce(io::Error) -> NetError {
    let doing = doing.into();
    move |source| NetError::Netlink { doing, source }
}

/// The end of an answer: a negative error number, and with it perhaps the kernel's own words.
fn outcome(payload: &[u8]) -> Result<(), Refusal> {
    const NLMSGERR_ATTR_MSG: u16 = 1;
    const HEADER: usize = 16;
    let code = payload.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
    if code >= 0 {
        return Ok(());
    }
    let said = payload.get(4 + HEADER..).and_then(|rest| attribute(rest, NLMSGERR_ATTR_MSG)).map(text);
    Err(Refusal { source: io::Error::from_raw_os_error(-code), said: said.unwrap_or_default() })
}

/// The value of the attribute of this kind.
fn attribute(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    let found = NlasIterator::new(attributes).map_while(Result::ok).find(|nla| nla.kind() == kind)?;
    let length = usize::from(found.length());
    // What is inside runs on to the end of all attributes.
    found.into_inner().get(NLA_HEADER..length)
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn address_of(bytes: &[u8]) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(*bytes.first_chunk::<4>()?))
}

/// `struct ifinfomsg`: family, padding, type (u16), index, flags, change.
fn parse_link(part: &[u8]) -> Option<Link> {
    const IFLA_IFNAME: u16 = 3;
    const IFLA_LINKINFO: u16 = 18;
    const IFLA_INFO_KIND: u16 = 1;
    const ARPHRD_ETHER: u16 = 1;
    const IFF_LOOPBACK: u32 = 8;
    let attributes = part.get(16..)?;
    let kind = attribute(attributes, IFLA_LINKINFO).and_then(|info| attribute(info, IFLA_INFO_KIND));
    Some(Link {
        index: word(part, 4)?,
        name: text(attribute(attributes, IFLA_IFNAME)?),
        kind: kind.map(text).unwrap_or_default(),
        is_ethernet: u16::from_ne_bytes(*part.get(2..)?.first_chunk()?) == ARPHRD_ETHER,
        is_loopback: word(part, 8)? & IFF_LOOPBACK != 0,
    })
}

const AF_INET: u8 = 2;

/// `struct ifaddrmsg`: family, prefix length, flags, scope, index.
fn parse_address(part: &[u8]) -> Option<Inet> {
    const IFA_ADDRESS: u16 = 1;
    const IFA_LOCAL: u16 = 2;
    let attributes = part.get(8..)?;
    if part[0] != AF_INET {
        return None;
    }
    // They differ for point-to-point links only, where the local one is ours.
    let address = attribute(attributes, IFA_LOCAL).or_else(|| attribute(attributes, IFA_ADDRESS))?;
    Some(Inet { address: address_of(address)?, prefix: part[1], index: word(part, 4)? })
}

/// `struct rtmsg`: family, destination's prefix length, and more of no interest.
fn parse_route(part: &[u8]) -> Option<Inet> {
    const RTA_DST: u16 = 1;
    let attributes = part.get(12..)?;
    if part[0] != AF_INET || part[1] == 0 {
        return None;
    }
    Some(Inet { address: address_of(attribute(attributes, RTA_DST)?)?, prefix: part[1], index: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_read_from_its_bytes() {
        let mut part = vec![0, 0, 1, 0, 7, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0];
        part.extend([9, 0, 3, 0, b'e', b't', b'h', b'0', 0, 0, 0, 0]);
        part.extend([16, 0, 18, 128, 9, 0, 1, 0, b'v', b'e', b't', b'h', 0, 0, 0, 0]);
        let link = parse_link(&part).unwrap();
        if cfg!(target_endian = "little") {
            assert_eq!((link.index, link.name.as_str(), link.kind.as_str()), (7, "eth0", "veth"));
            assert!(link.is_ethernet && !link.is_loopback);
        }
        assert_eq!(parse_link(&part[..12]), None);
    }

    #[test]
    fn an_error_number_is_an_error() {
        assert!(outcome(&0i32.to_ne_bytes()).is_ok());
        assert!(outcome(&[]).is_ok());
        assert_eq!(outcome(&(-17i32).to_ne_bytes()).unwrap_err().source.raw_os_error(), Some(17));
    }

    #[test]
    fn addresses_of_other_families_and_default_routes_are_left_out() {
        assert_eq!(parse_address(&[10, 64, 0, 0, 1, 0, 0, 0]), None);
        assert_eq!(parse_route(&[2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0]), None);
        let route = [2, 16, 0, 0, 254, 2, 253, 1, 0, 0, 0, 0, 8, 0, 1, 0, 172, 30, 0, 0];
        if cfg!(target_endian = "little") {
            assert_eq!(parse_route(&route).unwrap().address, Ipv4Addr::new(172, 30, 0, 0));
        }
    }
}
