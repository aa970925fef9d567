//! One query, judged without any I/O.

use std::net::{IpAddr, Ipv4Addr};

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use crate::Names;

/// How long an answer may be kept, in seconds: Docker's.
const TTL: u32 = 600;

/// The most addresses in one answer: they fit a datagram of 512 bytes, whatever the name (RFC 1035, 4.2.1).
const MOST_ADDRESSES: usize = 12;

/// What is to be done with a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send this.
    Answer(Vec<u8>),
    /// Others know.
    Forward,
    /// It is no query.
    Ignore,
}

/// Judges the bytes of one query of this client's.
pub fn judge(query: &[u8], client: Ipv4Addr, names: &dyn Names) -> Verdict {
    let Ok(message) = Message::from_vec(query) else { return Verdict::Ignore };
    if message.metadata.message_type != MessageType::Query {
        return Verdict::Ignore;
    }
    if message.metadata.op_code != OpCode::Query || message.queries.len() != 1 {
        return refusal(&message, ResponseCode::NotImp);
    }
    let question = &message.queries[0];
    if question.query_class() != DNSClass::IN {
        return Verdict::Forward;
    }
    let name = question.name();
    let records = match question.query_type() {
        RecordType::PTR => {
            let Some(known) = reverse(name).and_then(|address| names.name(client, address)) else {
                return Verdict::Forward;
            };
            let Ok(known) = Name::from_ascii(format!("{known}.")) else { return Verdict::Forward };
            vec![RData::PTR(PTR(known))]
        }
        kind => {
            let text = name.to_ascii().to_ascii_lowercase();
            let Some(addresses) = names.addresses(client, text.trim_end_matches('.')) else {
                return Verdict::Forward;
            };
            // Without one of this kind the name is there all the same: whoever asks must not go on searching.
            let fits = |address: &IpAddr| match kind {
                RecordType::A => address.is_ipv4(),
                RecordType::AAAA => address.is_ipv6(),
                RecordType::ANY => true,
                _ => false,
            };
            let data = |address: IpAddr| match address {
                IpAddr::V4(address) => RData::A(A(address)),
                IpAddr::V6(address) => RData::AAAA(AAAA(address)),
            };
            addresses.into_iter().filter(fits).take(MOST_ADDRESSES).map(data).collect()
        }
    };
    let mut answer = reply(&message, ResponseCode::NoError);
    answer.add_answers(records.into_iter().map(|data| Record::from_rdata(name.clone(), TTL, data)));
    written(&answer)
}

/// The answer that says no.
pub(crate) fn failure(query: &[u8]) -> Option<Vec<u8>> {
    match refusal(&Message::from_vec(query).ok()?, ResponseCode::ServFail) {
        Verdict::Answer(bytes) => Some(bytes),
        _ => None,
    }
}

fn refusal(query: &Message, code: ResponseCode) -> Verdict {
    written(&reply(query, code))
}

fn reply(query: &Message, code: ResponseCode) -> Message {
    let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
    answer.metadata.recursion_desired = query.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    answer.metadata.response_code = code;
    answer.add_queries(query.queries.iter().take(1).cloned());
    answer
}

fn written(message: &Message) -> Verdict {
    message.to_vec().map_or(Verdict::Ignore, Verdict::Answer)
}

/// `2.0.30.172.in-addr.arpa.`: the address 172.30.0.2.
fn reverse(name: &Name) -> Option<IpAddr> {
    let net = name.parse_arpa_name().ok()?;
    let whole = if net.addr().is_ipv4() { 32 } else { 128 };
    (net.prefix_len() == whole).then(|| net.addr())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use hickory_proto::op::Query;

    use super::*;

    const CLIENT: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 9);

    struct Web;

    impl Names for Web {
        fn addresses(&self, _client: Ipv4Addr, name: &str) -> Option<Vec<IpAddr>> {
            let six = || vec![IpAddr::from([172, 30, 0, 3]), "fd00::3".parse().unwrap()];
            match name {
                "web" => Some(vec![IpAddr::from([172, 30, 0, 2])]),
                "six" => Some(six()),
                _ => None,
            }
        }

        fn name(&self, _client: Ipv4Addr, address: IpAddr) -> Option<String> {
            (address == IpAddr::from([172, 30, 0, 2])).then(|| "web.net".to_owned())
        }

        fn upstream(&self, _client: Ipv4Addr) -> Vec<SocketAddr> {
            Vec::new()
        }
    }

    fn ask(name: &str, kind: RecordType) -> Verdict {
        let mut query = Message::query();
        query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        judge(&query.to_vec().unwrap(), CLIENT, &Web)
    }

    fn answers(name: &str, kind: RecordType) -> Vec<String> {
        let Verdict::Answer(bytes) = ask(name, kind) else { panic!("not answered") };
        let message = Message::from_vec(&bytes).unwrap();
        assert_eq!(message.metadata.response_code, ResponseCode::NoError);
        message.answers.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_of_the_network_are_answered_and_others_forwarded() {
        assert!(answers("WEB.", RecordType::A)[0].ends_with("A 172.30.0.2"));
        assert!(answers("web.", RecordType::AAAA).is_empty());
        assert!(answers("six.", RecordType::A)[0].ends_with("A 172.30.0.3"));
        assert!(answers("six.", RecordType::AAAA)[0].ends_with("AAAA fd00::3"));
        assert!(answers("2.0.30.172.in-addr.arpa.", RecordType::PTR)[0].ends_with("PTR web.net."));
        for (name, kind) in [
            ("db.", RecordType::A),
            ("3.0.30.172.in-addr.arpa.", RecordType::PTR),
            ("30.172.in-addr.arpa.", RecordType::PTR),
            ("web.", RecordType::PTR),
        ] {
            assert_eq!(ask(name, kind), Verdict::Forward, "{name}");
        }
    }

    proptest::proptest! {
        /// As `fuzz/fuzz_targets/dns.rs`.
        #[test]
        fn anything_can_be_asked(mut query: Vec<u8>, header: bool) {
            if header {
                query.splice(0..0, [0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
            }
            if let Verdict::Answer(answer) = judge(&query, CLIENT, &Web) {
                Message::from_vec(&answer).unwrap();
            }
        }
    }

    #[test]
    fn what_is_no_query_is_not_answered() {
        assert_eq!(judge(b"", CLIENT, &Web), Verdict::Ignore);
        assert_eq!(judge(&[0xff; 600], CLIENT, &Web), Verdict::Ignore);
        let Verdict::Answer(answer) = ask("web.", RecordType::A) else { panic!() };
        assert_eq!(judge(&answer, CLIENT, &Web), Verdict::Ignore);
        let mut two = Message::query();
        for _ in 0..2 {
            two.add_query(Query::query(Name::from_ascii("web.").unwrap(), RecordType::A));
        }
        let Verdict::Answer(answer) = judge(&two.to_vec().unwrap(), CLIENT, &Web) else { panic!() };
        assert_eq!(Message::from_vec(&answer).unwrap().metadata.response_code, ResponseCode::NotImp);
    }
}
