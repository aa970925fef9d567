//! Joining two interfaces by traffic control: every frame that comes in at one goes out at the other.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{
    TcAction, TcActionAttribute, TcActionMirror, TcActionMirrorOption, TcActionOption, TcActionType,
    TcAttribute, TcFilterU32, TcFilterU32Option, TcHandle, TcMessage, TcMirror, TcMirrorActionType, TcOption,
    TcU32Key, TcU32Selector, TcU32SelectorFlags,
};

use crate::netlink::Request;

const ETH_P_ALL: u16 = 3;

/// The requests that send everything from one interface to the other.
pub(crate) fn redirect(from: u32, to: u32) -> [Request; 2] {
    let flags = NLM_F_CREATE | NLM_F_EXCL;
    let doing = "join eth0 and the TAP device by traffic control";
    [
        Request::new(RouteNetlinkMessage::NewQueueDiscipline(ingress(from)), flags, doing),
        Request::new(RouteNetlinkMessage::NewTrafficFilter(redirect_filter(from, to)), flags, doing),
    ]
}

fn message(index: u32, kind: &str) -> TcMessage {
    let mut message = TcMessage::default();
    message.header.index = index.cast_signed();
    message.attributes.push(TcAttribute::Kind(kind.to_owned()));
    message
}

fn ingress(index: u32) -> TcMessage {
    let mut message = message(index, "ingress");
    message.header.parent = TcHandle::INGRESS;
    message.header.handle = TcHandle { major: u16::MAX, minor: 0 };
    message
}

fn redirect_filter(from: u32, to: u32) -> TcMessage {
    let mut message = message(from, TcFilterU32::KIND);
    message.header.parent = TcHandle { major: u16::MAX, minor: 0 };
    // Priority 1 in the upper half, the protocol in network byte order in the lower.
    message.header.info = 1 << 16 | u32::from(ETH_P_ALL.to_be());

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
    message.attributes.push(TcAttribute::Options(vec![
        TcOption::U32(TcFilterU32Option::Selector(everything)),
        TcOption::U32(TcFilterU32Option::Action(vec![action])),
    ]));
    message
}
