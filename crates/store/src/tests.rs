//! Records and leases against real SQLite.
#![allow(clippy::unwrap_used)]

use std::net::Ipv4Addr;

use cofferdam_model::ContainerId;

use super::*;

fn add(store: &Store, name: &str) -> Result<ContainerId, StoreError> {
    let id = ContainerId::random();
    store.insert_container(&NewContainer { id: &id, name, created: 1, spec: "{}", state: "\"created\"" })?;
    Ok(id)
}

fn pool(last: u8) -> AddressPool {
    AddressPool {
        network: "bridge".to_owned(),
        on_record: false,
        first: Ipv4Addr::new(172, 30, 0, 2),
        last: Ipv4Addr::new(172, 30, 0, last),
        excluded: Vec::new(),
    }
}

fn address(
    store: &Store,
    id: &ContainerId,
    pool: &AddressPool,
    preferred: Option<Ipv4Addr>,
) -> Result<u8, StoreError> {
    let addresses = [WantedAddress { preferred, ..wanted(pool) }];
    let wanted = Wanted { addresses: &addresses, uid: None };
    let leases = store.begin_start(id, wanted, |_| "\"starting\"".to_owned())?;
    Ok(leases.addresses[0].v4.octets()[3])
}

fn wanted(pool: &AddressPool) -> WantedAddress {
    WantedAddress { pool: pool.clone(), preferred: None, fixed: None, pool6: None, fixed6: None }
}

/// While it runs a container joins networks and leaves them; each has its own addresses, of both families.
#[test]
fn a_container_has_addresses_in_several_networks() {
    let store = Store::in_memory().unwrap();
    let row = |id: &str| NetworkRow { id: id.into(), name: id.into(), created: 1, spec: "{}".into() };
    store.insert_network(&row("n1")).unwrap();
    store.insert_network(&row("n2")).unwrap();
    let pool6 = AddressPool6 {
        network: "fd00::".parse().unwrap(),
        last: "fd00::ffff".parse().unwrap(),
        excluded: vec!["fd00::1".parse().unwrap()],
    };
    let of = |network: &str, pool6: Option<&AddressPool6>, fixed6: Option<&str>| {
        let first = Ipv4Addr::new(172, 30, 0, 1);
        let excluded = vec![first];
        let pool = AddressPool { network: network.into(), on_record: true, first, excluded, ..pool(9) };
        let fixed6 = fixed6.map(|address| address.parse().unwrap());
        WantedAddress { pool6: pool6.cloned(), fixed6, ..wanted(&pool) }
    };
    let (a, b) = (add(&store, "a").unwrap(), add(&store, "b").unwrap());
    let both = [of("n1", None, None), of("n2", Some(&pool6), None)];
    let leases = store.begin_start(&a, Wanted { addresses: &both, uid: None }, |_| "{}".into()).unwrap();
    assert_eq!(leases.addresses[0].v6, None);
    assert_eq!(leases.addresses[1].v6.unwrap().to_string(), "fd00::2");

    let taken = of("n2", Some(&pool6), Some("fd00::2"));
    assert!(matches!(store.join_network(&b, &taken, |_| "{}".into()), Err(StoreError::AddressInUse { .. })));
    let next = store.join_network(&b, &of("n2", Some(&pool6), None), |_| "{}".into()).unwrap();
    assert_eq!((next.v4.octets()[3], next.v6.unwrap().to_string().as_str()), (3, "fd00::3"));
    // Once more is no more.
    store.join_network(&b, &of("n2", Some(&pool6), None), |_| "{}".into()).unwrap();
    store.leave_network(&b, "n2", "{}").unwrap();
    store.leave_network(&a, "n2", "{}").unwrap();
    store.remove_network("n2").unwrap();
    assert!(matches!(store.remove_network("n1"), Err(StoreError::NetworkInUse(_))));
}

#[test]
fn a_name_has_one_holder() {
    let store = Store::in_memory().unwrap();
    let first = add(&store, "web").unwrap();
    let Err(StoreError::NameInUse { name, holder }) = add(&store, "web") else { panic!("taken twice") };
    assert_eq!((name.as_str(), holder.as_str()), ("web", first.as_str()));
    let second = add(&store, "db").unwrap();
    assert!(matches!(store.rename_container(&second, "web"), Err(StoreError::NameInUse { .. })));
    store.rename_container(&second, "cache").unwrap();
    store.remove_container(&first).unwrap();
    store.rename_container(&second, "web").unwrap();
    assert_eq!(store.containers().unwrap()[0].name, "web");
}

#[test]
fn addresses_are_leased_once_and_come_back() {
    let store = Store::in_memory().unwrap();
    let pool = pool(4);
    let ids: Vec<_> = ["a", "b", "c", "d"].iter().map(|name| add(&store, name).unwrap()).collect();
    assert_eq!(address(&store, &ids[0], &pool, None).unwrap(), 2);
    assert_eq!(address(&store, &ids[1], &pool, None).unwrap(), 3);
    assert_eq!(address(&store, &ids[2], &pool, None).unwrap(), 4);
    assert!(matches!(address(&store, &ids[3], &pool, None), Err(StoreError::AddressesExhausted(_))));
    // A failed start records nothing.
    assert_eq!(store.containers().unwrap().iter().filter(|row| row.state == "\"created\"").count(), 1);
    store.set_stopped(&ids[1], "\"exited\"").unwrap();
    assert_eq!(address(&store, &ids[3], &pool, None).unwrap(), 3);
    store.remove_container(&ids[0]).unwrap();
    assert_eq!(address(&store, &ids[1], &pool, None).unwrap(), 2);
    // Starting again is not a second lease.
    assert_eq!(address(&store, &ids[1], &pool, None).unwrap(), 2);
}

#[test]
fn a_preferred_address_is_kept_when_free() {
    let store = Store::in_memory().unwrap();
    let pool = pool(9);
    let (a, b) = (add(&store, "a").unwrap(), add(&store, "b").unwrap());
    let wish = Some(Ipv4Addr::new(172, 30, 0, 7));
    assert_eq!(address(&store, &a, &pool, wish).unwrap(), 7);
    assert_eq!(address(&store, &b, &pool, wish).unwrap(), 2);
    assert_eq!(address(&store, &b, &pool, Some(Ipv4Addr::new(10, 0, 0, 1))).unwrap(), 2);
}

#[test]
fn user_ids_are_leased_once() {
    let store = Store::in_memory().unwrap();
    let uids = UidPool { first: 0x7000_0000, count: 2 };
    let ids: Vec<_> = ["a", "b", "c"].iter().map(|name| add(&store, name).unwrap()).collect();
    let lease =
        |id| store.begin_start(id, Wanted { uid: Some(uids), ..Wanted::default() }, |_| "{}".to_owned());
    assert_eq!(lease(&ids[0]).unwrap().uid, Some(0x7000_0000));
    assert_eq!(lease(&ids[1]).unwrap().uid, Some(0x7000_0001));
    assert!(matches!(lease(&ids[2]), Err(StoreError::UidsExhausted)));
}

#[test]
fn records_survive_and_a_newer_schema_is_refused() {
    let directory = std::env::temp_dir().join(format!("cofferdam-store-{}", cofferdam_model::random_hex(6)));
    std::fs::create_dir(&directory).unwrap();
    let path = directory.join("cofferdam.db");
    let id = {
        let store = Store::open(&path).unwrap();
        store.set_setting("subnet", "172.30.0.0/16").unwrap();
        add(&store, "web").unwrap()
    };
    {
        let store = Store::open(&path).unwrap();
        assert_eq!(store.containers().unwrap()[0].id, id);
        assert_eq!(store.setting("subnet").unwrap().as_deref(), Some("172.30.0.0/16"));
        store.remove_setting("subnet").unwrap();
        assert_eq!(store.setting("subnet").unwrap(), None);
        assert!(matches!(store.set_state(&ContainerId::random(), "{}"), Err(StoreError::NotFound(_))));
        store.lock().pragma_update(None, "user_version", 99).unwrap();
    }
    assert!(matches!(Store::open(&path), Err(StoreError::TooNew { found: 99, .. })));
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_network_goes_when_nobody_has_an_address_in_it() {
    let store = Store::in_memory().unwrap();
    let row = |id: &str, name: &str| NetworkRow {
        id: id.to_owned(),
        name: name.to_owned(),
        created: 1,
        spec: "{}".to_owned(),
    };
    store.insert_network(&row("n1", "Virtual Switch")).unwrap();
    let again = store.insert_network(&row("n2", "Virtual Switch"));
    assert!(matches!(again, Err(StoreError::NetworkNameInUse(name)) if name == "Virtual Switch"));

    let excluded = vec![Ipv4Addr::new(172, 30, 0, 2), Ipv4Addr::new(172, 30, 0, 4)];
    let pool = AddressPool { network: "n1".to_owned(), on_record: true, excluded, ..pool(6) };
    let ids: Vec<_> = ["a", "b", "c"].iter().map(|name| add(&store, name).unwrap()).collect();
    assert_eq!(address(&store, &ids[0], &pool, None).unwrap(), 3);
    assert_eq!(address(&store, &ids[1], &pool, Some(Ipv4Addr::new(172, 30, 0, 4))).unwrap(), 5);
    let fixed = |id, last| {
        let fixed = Some(Ipv4Addr::new(172, 30, 0, last));
        let addresses = [WantedAddress { fixed, ..wanted(&pool) }];
        store.begin_start(id, Wanted { addresses: &addresses, uid: None }, |_| "{}".to_owned())
    };
    assert!(matches!(fixed(&ids[2], 3), Err(StoreError::AddressInUse { .. })));
    assert_eq!(fixed(&ids[2], 77).unwrap().addresses[0].v4, Ipv4Addr::new(172, 30, 0, 77));

    let Err(StoreError::NetworkInUse(holders)) = store.remove_network("n1") else { panic!("removed") };
    assert_eq!(holders.len(), 3);
    for id in &ids {
        store.set_stopped(id, "{}").unwrap();
    }
    store.remove_network("n1").unwrap();
    assert!(matches!(store.remove_network("n1"), Err(StoreError::NoNetwork(_))));
    assert!(matches!(address(&store, &ids[0], &pool, None), Err(StoreError::NoNetwork(_))));
    assert_eq!(store.networks().unwrap(), []);
}
