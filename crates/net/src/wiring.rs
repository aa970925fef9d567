//! The interfaces of a container's network namespace, made by its shim: at its start, and when it joins a network or
//! leaves one.

use std::os::fd::OwnedFd;

use cofferdam_model::Interface;
use cofferdam_sys::namespace::{self, Namespace};

use crate::bridge::delete;
use crate::inside::{
    address_requests, default_route_requests, leave_default_route, loopback_request, same_but_default,
    switch_ipv6, up_request,
};
use crate::netlink::Rtnl;
use crate::tap::Tap;
use crate::{HostLink, NetError};

/// They belong to the network namespace in which this was made. Whatever is in it goes away with that.
pub struct Wiring {
    host: HostLink,
    inside: Rtnl,
    namespace: OwnedFd,
    /// A VM's device; `None` at the process level, where the interfaces themselves have the addresses.
    tap: Option<Tap>,
    now: Vec<Interface>,
}

impl Wiring {
    /// For a container's own processes, in the network namespace of the calling thread.
    pub fn for_processes(host: HostLink) -> Result<Self, NetError> {
        Self::new(host, None)
    }

    /// For a VM: with the queue of its TAP device, which is QEMU's `-netdev tap,fd=…`. The device lasts as long as the
    /// descriptor is open somewhere.
    pub fn for_vm(host: HostLink) -> Result<(Self, OwnedFd), NetError> {
        let (tap, queue) = Tap::open()?;
        Ok((Self::new(host, Some(tap))?, queue))
    }

    fn new(host: HostLink, tap: Option<Tap>) -> Result<Self, NetError> {
        let mut inside = Rtnl::open()?;
        let namespace = namespace::current(Namespace::Network).map_err(NetError::Namespace)?;
        inside.send(vec![loopback_request()])?;
        Ok(Self { host, inside, namespace, tap, now: Vec::new() })
    }

    /// Makes `wanted` what is there. After an error some of it may be: another call can still reach any state.
    pub fn set(&mut self, wanted: &[Interface]) -> Result<(), NetError> {
        let same = |old: &Interface, new: &Interface| {
            old.link == new.link && same_but_default(&old.config, &new.config)
        };
        let (stay, go): (Vec<_>, Vec<_>) = std::mem::take(&mut self.now)
            .into_iter()
            .partition(|old| wanted.iter().any(|new| same(old, new)));
        self.now = stay;
        for old in &go {
            delete(&mut self.inside, &old.config.name)?;
            if let Some(tap) = &mut self.tap {
                tap.forget(&old.config.name);
            }
        }
        let first_new = self.now.len();
        for new in wanted {
            if !self.now.iter().any(|old| same(old, new)) {
                self.host.connect(new, &self.namespace)?;
                self.now.push(new.clone());
            }
        }
        match &mut self.tap {
            Some(tap) => tap.join(&mut self.inside, wanted)?,
            None => self.configure(first_new, wanted)?,
        }
        self.now = wanted.to_vec();
        Ok(())
    }

    /// Gives the new ones, from `first_new` on, their addresses, and has the default route lead where it is to.
    fn configure(&mut self, first_new: usize, wanted: &[Interface]) -> Result<(), NetError> {
        let next = wanted.iter().map(|interface| &interface.config).find(|config| config.is_default);
        let mut way_out = None;
        let mut requests = Vec::new();
        for config in self.now[first_new..].iter().map(|interface| &interface.config) {
            let index = self.inside.index_of(&config.name)?;
            switch_ipv6(&config.name, config.ipv6.is_some());
            requests.push(up_request(index, &config.name));
            requests.extend(address_requests(index, config));
            if config.is_default {
                way_out = Some(index);
            }
        }
        let now = self.now.iter().map(|interface| &interface.config);
        leave_default_route(&mut self.inside, now, next)?;
        if let Some(next) = next {
            let index = way_out.map_or_else(|| self.inside.index_of(&next.name), Ok)?;
            requests.extend(default_route_requests(index, next));
        }
        self.inside.send(requests)
    }
}
