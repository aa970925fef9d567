//! Addresses and user ids that live containers hold. Taking and giving back is part of the state change itself.

use std::net::{Ipv4Addr, Ipv6Addr};

use cofferdam_model::ContainerId;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use crate::containers::set_state;
use crate::{Store, StoreError};

/// A network's addresses for containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressPool {
    /// The network's ID; the default network's name.
    pub network: String,
    /// Whether the network is a user's and has to be on record.
    pub on_record: bool,
    /// The first address that a container may have.
    pub first: Ipv4Addr,
    /// The last.
    pub last: Ipv4Addr,
    /// Addresses among them that are others' (the gateway's, say).
    pub excluded: Vec<Ipv4Addr>,
}

/// User ids for VM worker processes: `first..first + count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UidPool {
    /// The first.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// An IPv6 subnet's addresses for containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressPool6 {
    /// The subnet's own address.
    pub network: Ipv6Addr,
    /// Its last.
    pub last: Ipv6Addr,
    /// Addresses that are others' (the gateway's, say).
    pub excluded: Vec<Ipv6Addr>,
}

/// The address that a container wants in a network.
#[derive(Clone, Debug)]
pub struct WantedAddress {
    /// One of these.
    pub pool: AddressPool,
    /// A particular address of that pool, when it is free; else any. A restarted container keeps its own so.
    pub preferred: Option<Ipv4Addr>,
    /// This address of the network and no other, inside the pool or not.
    pub fixed: Option<Ipv4Addr>,
    /// One of these, too, in networks with IPv6: as far into the subnet as the other is into its own, if that is free.
    pub pool6: Option<AddressPool6>,
    /// This and no other.
    pub fixed6: Option<Ipv6Addr>,
}

/// What a container wants while it runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// An address in each of these networks.
    pub addresses: &'a [WantedAddress],
    /// A user id from this pool.
    pub uid: Option<UidPool>,
}

/// A container's address in a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The IPv4 address.
    pub v4: Ipv4Addr,
    /// The other, in networks that have IPv6.
    pub v6: Option<Ipv6Addr>,
}

/// What a container holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leases {
    /// Its addresses, in the order in which they were wanted.
    pub addresses: Vec<Address>,
    /// Its VM worker's user id.
    pub uid: Option<u32>,
}

impl Store {
    /// Leases what a container needs to run. `state` gives the state to record from the leases granted; both
    /// become true in one transaction or not at all. Leases still held from before are given back first.
    pub fn begin_start(
        &self,
        id: &ContainerId,
        wanted: Wanted<'_>,
        state: impl FnOnce(&Leases) -> String,
    ) -> Result<Leases, StoreError> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        release(&transaction, id)?;
        let mut leases = Leases::default();
        for address in wanted.addresses {
            leases.addresses.push(lease(&transaction, id, address)?);
        }
        if let Some(pool) = wanted.uid {
            leases.uid = Some(lease_uid(&transaction, id, pool)?);
        }
        set_state(&transaction, id, &state(&leases))?;
        transaction.commit()?;
        Ok(leases)
    }

    /// Leases one more address to a container that runs, and records its state with it.
    pub fn join_network(
        &self,
        id: &ContainerId,
        wanted: &WantedAddress,
        state: impl FnOnce(Address) -> String,
    ) -> Result<Address, StoreError> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        leave(&transaction, id, &wanted.pool.network)?;
        let address = lease(&transaction, id, wanted)?;
        set_state(&transaction, id, &state(address))?;
        transaction.commit()?;
        Ok(address)
    }

    /// Gives the address in one network back, and records the state with it.
    pub fn leave_network(&self, id: &ContainerId, network: &str, state: &str) -> Result<(), StoreError> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        leave(&transaction, id, network)?;
        set_state(&transaction, id, state)?;
        transaction.commit()?;
        Ok(())
    }

    /// Records that a container does not run (any more), and gives its leases back.
    pub fn set_stopped(&self, id: &ContainerId, state: &str) -> Result<(), StoreError> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        release(&transaction, id)?;
        set_state(&transaction, id, state)?;
        transaction.commit()?;
        Ok(())
    }
}

fn release(connection: &Connection, id: &ContainerId) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM address_lease WHERE container = ?1")?.execute([id.as_str()])?;
    connection.prepare_cached("DELETE FROM address6_lease WHERE container = ?1")?.execute([id.as_str()])?;
    connection.prepare_cached("DELETE FROM uid_lease WHERE container = ?1")?.execute([id.as_str()])?;
    Ok(())
}

fn leave(connection: &Connection, id: &ContainerId, network: &str) -> Result<(), StoreError> {
    for table in ["address_lease", "address6_lease"] {
        connection
            .prepare_cached(&format!("DELETE FROM {table} WHERE container = ?1 AND network = ?2"))?
            .execute([id.as_str(), network])?;
    }
    Ok(())
}

fn lease(connection: &Connection, id: &ContainerId, wanted: &WantedAddress) -> Result<Address, StoreError> {
    let pool = &wanted.pool;
    let v4 = match wanted.fixed {
        Some(address) => lease_fixed(connection, id, pool, address)?,
        None => lease_address(connection, id, pool, wanted.preferred)?,
    };
    let v6 = match &wanted.pool6 {
        None => None,
        Some(pool6) => {
            // The first address of the other pool is the subnet's own, or right behind it.
            let offset = u32::from(v4).saturating_sub(u32::from(pool.first)) + 1;
            Some(lease_address6(connection, id, &pool.network, pool6, offset, wanted.fixed6)?)
        }
    };
    Ok(Address { v4, v6 })
}

/// How many addresses are tried before a subnet counts as full.
const TRIES: u32 = 65536;

fn lease_address6(
    connection: &Connection,
    id: &ContainerId,
    network: &str,
    pool: &AddressPool6,
    offset: u32,
    fixed: Option<Ipv6Addr>,
) -> Result<Ipv6Addr, StoreError> {
    let mut holder = connection
        .prepare_cached("SELECT container FROM address6_lease WHERE network = ?1 AND address = ?2")?;
    let mut holder = |address: Ipv6Addr| -> Result<Option<String>, StoreError> {
        Ok(holder.query_row(params![network, address.to_string()], |row| row.get(0)).optional()?)
    };
    let address = match fixed {
        Some(address) => match holder(address)? {
            Some(holder) => return Err(StoreError::AddressInUse { address: address.into(), holder }),
            None => address,
        },
        None => {
            let mut free = None;
            for step in 0..TRIES {
                let candidate = u128::from(pool.network) + u128::from(offset) + u128::from(step);
                if candidate > u128::from(pool.last) {
                    break;
                }
                let candidate = Ipv6Addr::from(candidate);
                if !pool.excluded.contains(&candidate) && holder(candidate)?.is_none() {
                    free = Some(candidate);
                    break;
                }
            }
            free.ok_or_else(|| StoreError::AddressesExhausted(network.to_owned()))?
        }
    };
    connection
        .prepare_cached("INSERT INTO address6_lease (network, address, container) VALUES (?1, ?2, ?3)")?
        .execute(params![network, address.to_string(), id.as_str()])?;
    Ok(address)
}

fn lease_address(
    connection: &Connection,
    id: &ContainerId,
    pool: &AddressPool,
    preferred: Option<Ipv4Addr>,
) -> Result<Ipv4Addr, StoreError> {
    require(connection, pool)?;
    let (first, last) = (u32::from(pool.first), u32::from(pool.last));
    let excluded: Vec<String> = pool.excluded.iter().map(|address| u32::from(*address).to_string()).collect();
    let excluded = format!("[{}]", excluded.join(","));
    let preferred = preferred.map(u32::from).filter(|address| (first..=last).contains(address));
    // Free addresses start at the pool's beginning or right behind one that is not free.
    let free: Option<u32> = connection
        .prepare_cached(
            "SELECT candidate FROM (
                 SELECT ?4 AS candidate, 0 AS rank WHERE ?4 IS NOT NULL
                 UNION ALL SELECT ?2, 1
                 UNION ALL SELECT address + 1, 1 FROM address_lease WHERE network = ?1
                 UNION ALL SELECT value + 1, 1 FROM json_each(?5)
             )
             WHERE candidate BETWEEN ?2 AND ?3
               AND candidate NOT IN (SELECT address FROM address_lease WHERE network = ?1)
               AND candidate NOT IN (SELECT value FROM json_each(?5))
             ORDER BY rank, candidate LIMIT 1",
        )?
        .query_row(params![pool.network, first, last, preferred, excluded], |row| row.get(0))
        .optional()?;
    let address = free.ok_or_else(|| StoreError::AddressesExhausted(pool.network.clone()))?;
    insert(connection, id, &pool.network, address.into())
}

fn lease_fixed(
    connection: &Connection,
    id: &ContainerId,
    pool: &AddressPool,
    address: Ipv4Addr,
) -> Result<Ipv4Addr, StoreError> {
    require(connection, pool)?;
    let holder: Option<String> = connection
        .prepare_cached("SELECT container FROM address_lease WHERE network = ?1 AND address = ?2")?
        .query_row(params![pool.network, u32::from(address)], |row| row.get(0))
        .optional()?;
    match holder {
        Some(holder) => Err(StoreError::AddressInUse { address: address.into(), holder }),
        None => insert(connection, id, &pool.network, address),
    }
}

fn insert(
    connection: &Connection,
    id: &ContainerId,
    network: &str,
    address: Ipv4Addr,
) -> Result<Ipv4Addr, StoreError> {
    connection
        .prepare_cached("INSERT INTO address_lease (network, address, container) VALUES (?1, ?2, ?3)")?
        .execute(params![network, u32::from(address), id.as_str()])?;
    Ok(address)
}

/// A network that is being removed gives no address any more.
fn require(connection: &Connection, pool: &AddressPool) -> Result<(), StoreError> {
    let there = !pool.on_record
        || connection
            .prepare_cached("SELECT 1 FROM network WHERE id = ?1")?
            .exists([pool.network.as_str()])?;
    if there { Ok(()) } else { Err(StoreError::NoNetwork(pool.network.clone())) }
}

fn lease_uid(connection: &Connection, id: &ContainerId, pool: UidPool) -> Result<u32, StoreError> {
    let last = pool.first.saturating_add(pool.count.saturating_sub(1));
    let free: Option<u32> = connection
        .prepare_cached(
            "SELECT candidate FROM (SELECT ?1 AS candidate UNION ALL SELECT uid + 1 FROM uid_lease)
             WHERE candidate BETWEEN ?1 AND ?2 AND candidate NOT IN (SELECT uid FROM uid_lease)
             ORDER BY candidate LIMIT 1",
        )?
        .query_row(params![pool.first, last], |row| row.get(0))
        .optional()?;
    let uid = free.filter(|_| pool.count > 0).ok_or(StoreError::UidsExhausted)?;
    connection
        .prepare_cached("INSERT INTO uid_lease (uid, container) VALUES (?1, ?2)")?
        .execute(params![uid, id.as_str()])?;
    Ok(uid)
}
