//! As root, each in network namespaces of its own that end with the test's threads: the host's interfaces, rules and
//! switches are never touched. A namespace belongs to a thread here, so that no process has to be forked.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cofferdam_model::{Interface, InterfaceConfig, Ipv6Config, Link};
use cofferdam_sys::namespace::{Namespace, current, join, unshare};
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// Runs `test` in a network namespace of its own, which stands for the host's.
fn in_own_host(test: impl FnOnce() + Send + 'static) {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: network namespaces need root");
        return;
    }
    let result = std::thread::spawn(|| {
        unshare(&[Namespace::Network]).unwrap();
        loopback_up().unwrap();
        test();
    })
    .join();
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

/// Runs `work` in the namespace `handle`, in a thread of its own.
fn within<T: Send + 'static>(handle: &OwnedFd, work: impl FnOnce() -> T + Send + 'static) -> T {
    spawn_within(handle, work).join().unwrap()
}

fn spawn_within<T: Send + 'static>(
    handle: &OwnedFd,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::thread::JoinHandle<T> {
    let handle = handle.try_clone().unwrap();
    std::thread::spawn(move || {
        join(&handle, Namespace::Network).unwrap();
        work()
    })
}

fn new_namespace() -> OwnedFd {
    std::thread::spawn(|| {
        unshare(&[Namespace::Network]).unwrap();
        current(Namespace::Network).unwrap()
    })
    .join()
    .unwrap()
}

fn bridge() -> BridgeConfig {
    BridgeConfig {
        name: "cfd-test".to_owned(),
        gateway: Ipv4Addr::new(172, 30, 0, 1),
        prefix: 16,
        ipv6: None,
        mtu: 1500,
        nft_table: "cofferdam_test".to_owned(),
        published: Vec::new(),
    }
}

fn network(number: u8) -> Interface {
    let address = Ipv4Addr::new(172, 30, 0, number);
    Interface {
        link: Link::Bridge {
            bridge: "cfd-test".to_owned(),
            host_interface: format!("cvtest{number}"),
            isolated: false,
        },
        config: InterfaceConfig {
            name: "eth0".to_owned(),
            mac: mac_for(address),
            address,
            prefix: 16,
            gateway: Some(Ipv4Addr::new(172, 30, 0, 1)),
            ipv6: None,
            mtu: 1500,
            is_default: true,
        },
    }
}

fn on(bridge: &str, host_interface: &str, interface: Interface) -> Interface {
    let (bridge, host_interface) = (bridge.to_owned(), host_interface.to_owned());
    Interface { link: Link::Bridge { bridge, host_interface, isolated: false }, ..interface }
}

/// A process-level container's namespace: what a shim does.
fn container(network: &Interface) -> OwnedFd {
    wired(std::slice::from_ref(network)).1
}

/// The same with what a shim keeps. It may be used in other threads: its sockets belong to their namespaces.
fn wired(networks: &[Interface]) -> (Wiring, OwnedFd) {
    let host = HostLink::open().unwrap();
    let networks = networks.to_vec();
    std::thread::spawn(move || {
        unshare(&[Namespace::Network]).unwrap();
        let namespace = current(Namespace::Network).unwrap();
        let mut wiring = Wiring::for_processes(host).unwrap();
        wiring.set(&networks).unwrap();
        (wiring, namespace)
    })
    .join()
    .unwrap()
}

/// A server at `address` that sends back what it gets, and says from where.
fn echo_once(namespace: &OwnedFd, address: Ipv4Addr) -> std::thread::JoinHandle<IpAddr> {
    let listener = within(namespace, move || TcpListener::bind((address, 7000)).unwrap());
    std::thread::spawn(move || {
        let (mut stream, peer) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match stream.read(&mut buffer).unwrap() {
                0 => return peer.ip(),
                count => stream.write_all(&buffer[..count]).unwrap(),
            }
        }
    })
}

/// Sends `size` bytes to the server and checks that all of them come back.
fn talk(namespace: &OwnedFd, address: Ipv4Addr, size: usize) {
    within(namespace, move || {
        let stream = TcpStream::connect_timeout(&SocketAddr::from((address, 7000)), PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let data: Vec<u8> = (0..size).map(|n| u8::try_from(n * 7 % 251).unwrap()).collect();
        let (mut sender, sent) = (stream.try_clone().unwrap(), data.clone());
        let writer = std::thread::spawn(move || {
            sender.write_all(&sent).unwrap();
            sender.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let mut back = Vec::new();
        (&stream).read_to_end(&mut back).unwrap();
        writer.join().unwrap();
        assert!(back == data, "{} of {size} bytes came back", back.len());
    });
}

/// The bridge; `false` when only NAT is missing, with the reason printed.
fn with_nat() -> bool {
    match ensure_bridge(&bridge()) {
        Ok(()) => true,
        Err(error) => {
            assert!(error.bridge_is_up(), "{error}: {:?}", std::error::Error::source(&error));
            println!("skipped in part: {error}");
            false
        }
    }
}

#[test]
fn containers_reach_each_other_and_the_gateway() {
    in_own_host(|| {
        with_nat();
        let (a, b) = (container(&network(2)), container(&network(3)));
        let server = echo_once(&b, network(3).config.address);
        talk(&a, network(3).config.address, 1 << 20);
        assert_eq!(server.join().unwrap(), network(2).config.address);
        // From the host to a container, and loopback inside one.
        let server = echo_once(&a, network(2).config.address);
        talk(&current(Namespace::Network).unwrap(), network(2).config.address, 1000);
        assert_eq!(server.join().unwrap(), network(2).config.gateway.unwrap());
        let server = echo_once(&a, Ipv4Addr::LOCALHOST);
        talk(&a, Ipv4Addr::LOCALHOST, 10);
        server.join().unwrap();
    });
}

#[test]
fn a_bridge_is_made_once_changed_and_removed() {
    in_own_host(|| {
        with_nat();
        with_nat();
        let mut moved = bridge();
        moved.gateway = Ipv4Addr::new(10, 9, 0, 1);
        moved.prefix = 24;
        let result = ensure_bridge(&moved);
        assert!(result.as_ref().err().is_none_or(NetError::bridge_is_up), "{result:?}");
        let mut rtnl = crate::netlink::Rtnl::open().unwrap();
        let index = rtnl.index_of("cfd-test").unwrap();
        let addresses: Vec<_> = rtnl.addresses().unwrap().into_iter().filter(|a| a.index == index).collect();
        assert_eq!(addresses.len(), 1);
        assert_eq!((addresses[0].address, addresses[0].prefix), (moved.gateway, 24));
        assert_eq!(std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap().trim(), "1");
        // Its subnet counts as used, the earlier one no longer.
        assert_eq!(free_subnet().unwrap(), (Ipv4Addr::new(172, 30, 0, 1), 16));
        assert!(!is_free(moved.gateway, 24).unwrap() && !is_free(Ipv4Addr::new(10, 0, 0, 1), 8).unwrap());
        assert!(is_free(bridge().gateway, 16).unwrap());
        for _ in 0..2 {
            remove_bridge("cfd-test", "cofferdam_test").unwrap();
        }
        assert_eq!(rtnl.find_link("cfd-test").unwrap(), None);
        assert!(matches!(remove_bridge("lo", "cofferdam_test"), Err(NetError::NotABridge(_))));
    });
}

#[test]
fn outbound_traffic_wears_the_hosts_address() {
    in_own_host(|| {
        if !with_nat() {
            println!("skipped: no NAT on this host");
            return;
        }
        // The world beyond the host: it has no route back to containers.
        let world = new_namespace();
        let uplink = Ipv4Addr::new(198, 51, 100, 2);
        let mut beyond = on("uplink", "world", network(1));
        let address = Ipv4Addr::new(198, 51, 100, 1);
        // Its gateway never answers: whatever is not masqueraded is lost.
        let gateway = Some(Ipv4Addr::new(198, 51, 100, 254));
        beyond.config =
            InterfaceConfig { mac: mac_for(address), address, prefix: 24, gateway, ..beyond.config };
        let table = "cofferdam_uplink".to_owned();
        let config = BridgeConfig {
            name: "uplink".to_owned(),
            gateway: uplink,
            prefix: 24,
            ipv6: None,
            mtu: 1500,
            nft_table: table,
            published: Vec::new(),
        };
        ensure_bridge(&config).unwrap();
        // Not a network of containers: it lets everyone in.
        crate::nat::remove(&config.nft_table).unwrap();
        let (host, inside) = (HostLink::open().unwrap(), beyond.clone());
        within(&world, move || Wiring::for_processes(host).unwrap().set(&[inside]).unwrap());

        let a = container(&network(2));
        let server = echo_once(&world, beyond.config.address);
        talk(&a, beyond.config.address, 100_000);
        assert_eq!(server.join().unwrap(), uplink);
    });
}

#[test]
fn a_former_link_of_the_same_name_gives_way() {
    in_own_host(|| {
        with_nat();
        let first = container(&network(2));
        assert_eq!(leftover_links("cvtest").unwrap(), ["cvtest2"]);
        let second = container(&network(2));
        assert_eq!(leftover_links("cvtest").unwrap(), ["cvtest2"]);
        let server = echo_once(&second, network(2).config.address);
        talk(&current(Namespace::Network).unwrap(), network(2).config.address, 10);
        server.join().unwrap();
        for _ in 0..2 {
            delete_link("cvtest2").unwrap();
        }
        assert!(leftover_links("cvtest").unwrap().is_empty());
        drop(first);

        let missing = on("nobridge", "cvtest4", network(4));
        let error = HostLink::open().unwrap().connect(&missing, &second).unwrap_err();
        assert_eq!(error.to_string(), "no such interface: nobridge");
        let taken = on("cfd-test", "cfd-test", network(4));
        let error = HostLink::open().unwrap().connect(&taken, &second).unwrap_err();
        assert!(error.is(rustix::io::Errno::EXIST), "{error}");
        println!("{error}");
    });
}

/// A second network beside the first, with IPv6, while a container runs, and without the first.
#[test]
fn networks_come_and_go() {
    in_own_host(|| {
        with_nat();
        let gateway6 = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
        let second = BridgeConfig {
            name: "cfd-second".to_owned(),
            gateway: Ipv4Addr::new(172, 29, 0, 1),
            ipv6: Some((gateway6, 64)),
            nft_table: "cofferdam_second".to_owned(),
            ..bridge()
        };
        let open = Policy { internal: false, between_containers: true, masquerade: true };
        if let Err(error) = ensure_network(&second, open) {
            println!("skipped: no second network: {error}");
            return;
        }
        let also = |name: &str, number: u8, is_default: bool| {
            let mut also = on("cfd-second", &format!("cvalso{number}"), network(number));
            let address = Ipv4Addr::new(172, 29, 0, number);
            also.config = InterfaceConfig {
                name: name.to_owned(),
                mac: mac_for(address),
                address,
                gateway: Some(second.gateway),
                ipv6: Some(Ipv6Config {
                    address: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number.into()),
                    prefix: 64,
                    gateway: Some(gateway6),
                }),
                is_default,
                ..also.config
            };
            also
        };
        let peer = container(&also("eth0", 3, true));
        let (mut wiring, inside) = wired(&[network(2)]);
        let route = |inside: &OwnedFd| {
            within(inside, || {
                let output = std::process::Command::new("ip").args(["route", "show", "default"]).output();
                String::from_utf8(output.unwrap().stdout).unwrap().trim().to_owned()
            })
        };
        let reach = |number: u8| {
            let server = echo_once(&peer, Ipv4Addr::new(172, 29, 0, number));
            talk(&inside, Ipv4Addr::new(172, 29, 0, number), 100_000);
            server.join().unwrap()
        };
        let mut set = |networks: &[Interface]| {
            // The shim's threads are all inside.
            let networks = networks.to_vec();
            std::thread::scope(|scope| {
                let (wiring, inside) = (&mut wiring, &inside);
                scope.spawn(move || {
                    join(inside, Namespace::Network).unwrap();
                    wiring.set(&networks).unwrap();
                });
            });
        };
        set(&[network(2), also("eth1", 7, false)]);
        assert_eq!(reach(3), IpAddr::from([172, 29, 0, 7]));
        assert!(route(&inside).contains("via 172.30.0.1 dev eth0"));
        // The default route moves, and comes with the second once the first is gone.
        let first =
            Interface { config: InterfaceConfig { is_default: false, ..network(2).config }, ..network(2) };
        set(&[first, also("eth1", 7, true)]);
        assert!(route(&inside).contains("via 172.29.0.1 dev eth1") && !route(&inside).contains("eth0"));
        set(&[also("eth1", 7, true)]);
        assert!(leftover_links("cvtest").unwrap().is_empty());
        let listener = within(&peer, || TcpListener::bind("[fd00::3]:7001").unwrap());
        let from = within(&inside, || {
            let address = "[fd00::3]:7001".parse().unwrap();
            TcpStream::connect_timeout(&address, PATIENCE).unwrap().local_addr().unwrap().ip()
        });
        assert_eq!((from, listener.accept().unwrap().1.ip()), (from, "fd00::7".parse::<IpAddr>().unwrap()));
        set(&[]);
        assert_eq!(route(&inside), "");
        set(&[network(2)]);
        assert!(route(&inside).contains("via 172.30.0.1 dev eth0"));
        remove_bridge("cfd-second", "cofferdam_second").unwrap();
    });
}

/// A VM's further networks are tagged on its TAP device, and sorted by their tags.
#[test]
fn a_vms_networks_are_told_apart() {
    in_own_host(|| {
        with_nat();
        let peer = container(&network(3));
        let namespace = new_namespace();
        let mut second = network(4);
        second.config.name = "eth5".to_owned();
        let (host, interfaces) = (HostLink::open().unwrap(), [network(2), second]);
        let tap = within(&namespace, move || {
            let (mut wiring, tap) = Wiring::for_vm(host).unwrap();
            wiring.set(&interfaces[..1]).unwrap();
            wiring.set(&interfaces).unwrap();
            tap
        });
        // Somebody looks for both addresses: both interfaces hear it, one with a tag.
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let asking = spawn_within(&peer, move || {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            while !asked.load(Ordering::Relaxed) {
                let _ = socket.send_to(b"?", "172.30.0.4:9");
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let arp = [0x08, 0x06];
        let (mut plain, mut tagged) = (None, None);
        let start = Instant::now();
        while (plain.is_none() || tagged.is_none()) && start.elapsed() < PATIENCE {
            let mut fds = [PollFd::new(&tap, PollFlags::IN)];
            let timeout = Timespec { tv_sec: 1, tv_nsec: 0 };
            rustix::event::poll(&mut fds, Some(&timeout)).unwrap();
            let mut frame = vec![0; 2000];
            while let Ok(count) = rustix::io::read(&tap, &mut frame) {
                // Behind the virtio-net header of 10 bytes.
                let frame = frame[10..count].to_vec();
                match frame[12..14] {
                    [0x81, 0] if frame[14..18] == [0, 5, 8, 6] => tagged = Some(frame),
                    _ if frame[12..14] == arp => plain = Some(frame),
                    _ => {}
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
        asking.join().unwrap();
        let tagged = tagged.unwrap();
        assert_eq!(tagged[18..], plain.unwrap()[14..], "but for the tag the frames are the same");
        // An answer with the tag leaves by its interface, without it.
        let mut answer = vec![0; 10];
        answer.extend(&tagged[6..12]);
        answer.extend([2, 0x42, 172, 30, 0, 4, 0x81, 0, 0, 5, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
        answer.extend([2, 0x42, 172, 30, 0, 4, 172, 30, 0, 4]);
        answer.extend(&tagged[6..12]);
        answer.extend([172, 30, 0, 3]);
        rustix::io::write(&tap, &answer).unwrap();
        let neighbours = within(&peer, || {
            let start = Instant::now();
            loop {
                let output = std::process::Command::new("ip").args(["neigh", "show", "172.30.0.4"]).output();
                let text = String::from_utf8(output.unwrap().stdout).unwrap();
                if text.contains("02:42:ac:1e:00:04") || start.elapsed() > PATIENCE {
                    return text;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        assert!(neighbours.contains("02:42:ac:1e:00:04"), "{neighbours}");
    });
}

/// Carries frames between two TAP queues as QEMU and the guest's driver would, until told to stop.
fn carry(one: OwnedFd, other: OwnedFd) -> (Arc<AtomicBool>, std::thread::JoinHandle<u64>) {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let thread = std::thread::spawn(move || {
        let mut frame = vec![0; 70_000];
        let mut largest = 0;
        while !stopped.load(Ordering::Relaxed) {
            let mut fds = [PollFd::new(&one, PollFlags::IN), PollFd::new(&other, PollFlags::IN)];
            let timeout = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
            rustix::event::poll(&mut fds, Some(&timeout)).unwrap();
            for (from, to) in [(&one, &other), (&other, &one)] {
                while let Ok(count) = rustix::io::read(from.as_fd(), &mut frame) {
                    largest = largest.max(u64::try_from(count).unwrap());
                    // A full queue drops frames, as a network does.
                    let _ = rustix::io::write(to.as_fd(), &frame[..count]);
                }
            }
        }
        largest
    });
    (stop, thread)
}

#[test]
fn a_guest_behind_a_tap_is_on_the_bridge() {
    in_own_host(|| {
        with_nat();
        let peer = container(&network(3));
        // The shim's part.
        let outer = network(2);
        let namespace = new_namespace();
        let (host, shim_side) = (HostLink::open().unwrap(), outer.clone());
        let tap = within(&namespace, move || {
            let (mut wiring, tap) = Wiring::for_vm(host).unwrap();
            wiring.set(&[shim_side]).unwrap();
            tap
        });
        // The guest: its card is a TAP too, with another MAC and name, brought up as in a template.
        let guest = new_namespace();
        let (card, mut prepared) = within(&guest, || {
            let card = cofferdam_sys::tap::open("ens3").unwrap();
            cofferdam_sys::tap::set_offload(&card).unwrap();
            (card, Card::prepare().unwrap())
        });
        cofferdam_sys::tap::set_offload(&tap).unwrap();
        let (stop, carrier) = carry(tap, card);
        let config = outer.config.clone();
        within(&guest, move || {
            prepared.set(std::slice::from_ref(&config)).unwrap();
            let addresses = crate::netlink::Rtnl::open().unwrap().addresses().unwrap();
            let addresses: Vec<_> = addresses.into_iter().map(|a| a.address).collect();
            assert_eq!(addresses, [Ipv4Addr::LOCALHOST, config.address]);
        });

        let server = echo_once(&peer, network(3).config.address);
        talk(&guest, network(3).config.address, 8 << 20);
        assert_eq!(server.join().unwrap(), outer.config.address);
        let server = echo_once(&guest, outer.config.address);
        talk(&peer, outer.config.address, 8 << 20);
        assert_eq!(server.join().unwrap(), network(3).config.address);
        // From the host itself, and small datagrams.
        let server = echo_once(&guest, outer.config.address);
        talk(&current(Namespace::Network).unwrap(), outer.config.address, 1000);
        server.join().unwrap();
        let socket = within(&guest, move || UdpSocket::bind((outer.config.address, 9000)).unwrap());
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let address = network(2).config.address;
        within(&peer, move || {
            UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"ping", (address, 9000)).unwrap()
        });
        let mut datagram = [0; 16];
        let (count, from) = socket.recv_from(&mut datagram).unwrap();
        assert_eq!((&datagram[..count], from.ip()), (&b"ping"[..], IpAddr::from(network(3).config.address)));

        stop.store(true, Ordering::Relaxed);
        let largest = carrier.join().unwrap();
        println!("largest frame through the tap: {largest} bytes");
    });
}

/// Prints what a shim pays, and asserts nothing about it.
#[test]
fn the_price_of_a_link() {
    in_own_host(|| {
        with_nat();
        let mut links = Vec::new();
        let mut times = Vec::new();
        for number in 10..30 {
            let network = network(number);
            let host = HostLink::open().unwrap();
            let (namespace, steps) = std::thread::spawn(move || {
                let start = Instant::now();
                unshare(&[Namespace::Network]).unwrap();
                let namespace = current(Namespace::Network).unwrap();
                let unshared = start.elapsed();
                Wiring::for_processes(host).unwrap().set(&[network]).unwrap();
                (namespace, [unshared, start.elapsed() - unshared])
            })
            .join()
            .unwrap();
            links.push(namespace);
            times.push(steps);
        }
        for (index, name) in ["unshare", "connect"].iter().enumerate() {
            let mut step: Vec<_> = times.iter().map(|t| t[index]).collect();
            step.sort_unstable();
            println!("{name}: median {:?}, worst {:?}", step[step.len() / 2], step[step.len() - 1]);
        }
    });
}
