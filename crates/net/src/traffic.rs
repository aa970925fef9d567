//! Joining interfaces by traffic control: every frame that comes in at one goes out at another.

use std::os::fd::{AsRawFd, OwnedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{
    TcAction, TcActionAttribute, TcActionMirror, TcActionMirrorOption, TcActionOption, TcActionType,
    TcAttribute, TcBpfFlags, TcFilterBpf, TcFilterBpfOption, TcFilterU32, TcFilterU32Option, TcHandle,
    TcMessage, TcMirror, TcMirrorActionType, TcOption, TcU32Key, TcU32Selector, TcU32SelectorFlags,
};

use crate::netlink::Request;

const ETH_P_ALL: u16 = 3;

/// A program comes before a plain redirection.
const PROGRAM: u32 = 1;
const PLAIN: u32 = 2;

const DOING: &str = "join a VM to a network by traffic control";

/// Has what comes in at an interface looked at.
pub(crate) fn ingress(index: u32) -> Request {
    let mut message = message(index, "ingress");
    message.header.parent = TcHandle::INGRESS;
    message.header.handle = TcHandle { major: u16::MAX, minor: 0 };
    Request::new(RouteNetlinkMessage::NewQueueDiscipline(message), NLM_F_CREATE | NLM_F_EXCL, DOING)
}

/// Sends everything from one interface to the other.
pub(crate) fn redirect(from: u32, to: u32) -> Request {
    // A key whose mask is empty matches everything.
    let mut everything = TcU32Selector::default();
    everything.flags = TcU32SelectorFlags::Terminal;
    everything.nkeys = 1;
    everything.keys = vec![TcU32Key::default()];

    let mut target = TcMirror::default();
    target.generic.action = TcActionType::Stolen;
    target.eaction = TcMirrorActionType::EgressRedir;
    target.ifindex = to;
    let mut action = TcAction::default();
    action.attributes = vec![
        TcActionAttribute::Kind(TcActionMirror::KIND.to_owned()),
        TcActionAttribute::Options(vec![TcActionOption::Mirror(TcActionMirrorOption::Parms(target))]),
    ];
    let options = vec![
        TcOption::U32(TcFilterU32Option::Selector(everything)),
        TcOption::U32(TcFilterU32Option::Action(vec![action])),
    ];
    filter(from, TcFilterU32::KIND, PLAIN, TcHandle::default(), options)
}

/// Has a program decide ([`cofferdam_sys::vlan_filter`]); it takes the place of a former one.
pub(crate) fn classify(from: u32, program: &OwnedFd) -> Request {
    let options = vec![
        TcOption::Bpf(TcFilterBpfOption::ProgFd(program.as_raw_fd().cast_unsigned())),
        TcOption::Bpf(TcFilterBpfOption::ProgName("cofferdam-vlan".to_owned())),
        TcOption::Bpf(TcFilterBpfOption::Flags(TcBpfFlags::DirectAction)),
    ];
    filter(from, TcFilterBpf::KIND, PROGRAM, TcHandle { major: 0, minor: 1 }, options)
}

fn filter(from: u32, kind: &str, priority: u32, handle: TcHandle, options: Vec<TcOption>) -> Request {
    let mut message = message(from, kind);
    message.header.parent = TcHandle { major: u16::MAX, minor: 0 };
    message.header.handle = handle;
    // The priority is in the upper half, the protocol in network byte order in the lower.
    message.header.info = priority << 16 | u32::from(ETH_P_ALL.to_be());
    message.attributes.push(TcAttribute::Options(options));
    Request::new(RouteNetlinkMessage::NewTrafficFilter(message), NLM_F_CREATE | NLM_F_REPLACE, DOING)
}

fn message(index: u32, kind: &str) -> TcMessage {
    let mut message = TcMessage::default();
    message.header.index = index.cast_signed();
    message.attributes.push(TcAttribute::Kind(kind.to_owned()));
    message
}
