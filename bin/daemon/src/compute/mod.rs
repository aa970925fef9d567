//! Compute processes: what runs containers and virtual machines on this host, whoever has made it. This engine's own can
//! be stopped; what other engines run is found in `/proc` and only shown.

mod others;

use std::collections::HashMap;

use cofferdam_api::{ComputeProcess, Filters};
use cofferdam_model::ComputeType;
use cofferdam_sys::cgroup::Cgroup;
use cofferdam_sys::procfs;

use crate::containers::{Container, group, lifecycle};
use crate::engine::{Engine, Shared};
use crate::error::{ApiError, ApiResult};

/// The filters of a list.
const FILTERS: [&str; 5] = ["id", "name", "owner", "type", "isolation"];

/// All of them: this engine's, the newest first, then the others'. Blocking.
pub fn list(engine: &Engine, filters: &Filters) -> ApiResult<Vec<ComputeProcess>> {
    filters.check(&FILTERS)?;
    let users = Users::read();
    let running = engine.containers.all();
    let own: Vec<_> = running.iter().filter_map(|container| own(engine, container, &users)).collect();
    let known: Vec<&str> = running.iter().map(|container| container.id.as_str()).collect();
    let others = others::find(&known, &users);
    Ok(own.into_iter().chain(others).filter(|process| passes(process, filters)).collect())
}

/// The one that a client names: an ID in any case or the beginning of one, or a name. Blocking.
pub fn find(engine: &Engine, reference: &str) -> ApiResult<ComputeProcess> {
    let all = list(engine, &Filters::default())?;
    choose(&all, reference).cloned()
}

fn choose<'a>(all: &'a [ComputeProcess], reference: &str) -> ApiResult<&'a ComputeProcess> {
    let by = |matches: &dyn Fn(&ComputeProcess) -> bool| -> Vec<&'a ComputeProcess> {
        all.iter().filter(|process| matches(process)).collect()
    };
    let begins = |process: &ComputeProcess| {
        process.id.get(..reference.len()).is_some_and(|start| start.eq_ignore_ascii_case(reference))
    };
    for found in [
        by(&|process| process.id.eq_ignore_ascii_case(reference)),
        by(&|process| process.name == reference),
        by(&begins),
    ] {
        match found.as_slice() {
            _ if reference.is_empty() => break,
            [] => {}
            [one] => return Ok(one),
            // A name of ours is ours: others cannot take it by calling theirs the same.
            [first, second, ..] if !first.read_only && second.read_only => return Ok(first),
            _ => {
                return Err(ApiError::bad_request(format!(
                    "several compute processes match {reference:?}: use a whole ID"
                )));
            }
        }
    }
    Err(ApiError::not_found(format!("No such compute process: {reference}")))
}

/// Stops a container as `stop` does, or at once.
pub async fn stop(engine: &Shared, process: &ComputeProcess, force: bool) -> ApiResult<()> {
    if process.read_only {
        return Err(ApiError::conflict(format!(
            "compute process {} belongs to {}: stop it there, it can only be looked at here",
            process.id, process.owner
        )));
    }
    let container = engine.containers.find(&process.id)?;
    if force {
        return lifecycle::kill(&container, &process.id, None).await;
    }
    lifecycle::stop(engine, &container, None, None).await.map(drop)
}

fn own(engine: &Engine, container: &Container, users: &Users) -> Option<ComputeProcess> {
    let (record, status) = (container.record(), container.status());
    let pid = i32::try_from(status.pid).ok().filter(|pid| *pid > 0 && status.state.is_live())?;
    let (uid, user) = match &status.vm {
        Some(vm) => (vm.worker_uid, vm.worker_user.clone()),
        None => {
            // One that ends in this moment is not listed any more.
            let uid = procfs::processes(&[pid]).first()?.uid;
            (uid, users.name(uid))
        }
    };
    let usage = Cgroup::named(&group(engine, container)).and_then(|group| group.usage()).unwrap_or_default();
    Some(ComputeProcess {
        id: container.id.to_string(),
        name: container.name(),
        owner: record.owner.as_str().to_owned(),
        kind: ComputeType::Container,
        isolation: record.isolation.to_string(),
        pid,
        user,
        uid,
        memory: usage.memory,
        cpu_nanos: usage.cpu_nanos,
        read_only: false,
    })
}

fn passes(process: &ComputeProcess, filters: &Filters) -> bool {
    let any =
        |key: &str, matches: &dyn Fn(&str) -> bool| !filters.has(key) || filters.values(key).any(matches);
    let is = |text: &str| {
        let text = text.to_owned();
        move |value: &str| text.eq_ignore_ascii_case(value)
    };
    any("owner", &is(&process.owner))
        && any("type", &is(process.kind.as_str()))
        && any("isolation", &is(&process.isolation))
        && any("name", &|value| process.name == value)
        && any("id", &|value| {
            process.id.get(..value.len()).is_some_and(|start| start.eq_ignore_ascii_case(value))
        })
}

/// The host's users, read once for a list.
struct Users(HashMap<u32, String>);

impl Users {
    fn read() -> Self {
        Self(cofferdam_sys::userdb::names(&std::fs::read_to_string("/etc/passwd").unwrap_or_default()))
    }

    fn name(&self, uid: u32) -> String {
        self.0.get(&uid).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(id: &str, name: &str, read_only: bool) -> ComputeProcess {
        let owner = if read_only { "podman" } else { "docker" };
        let (id, name, owner) = (id.to_owned(), name.to_owned(), owner.to_owned());
        ComputeProcess { id, name, owner, read_only, ..ComputeProcess::default() }
    }

    #[test]
    fn one_is_named_by_id_name_or_beginning() {
        let all = [process("abcd", "web", false), process("abff", "web", true), process("ff00", "b", true)];
        let found = |reference: &str| {
            choose(&all, reference).map(|process| process.id.as_str()).map_err(|error| error.status.as_u16())
        };
        assert_eq!(found("ABCD"), Ok("abcd"));
        assert_eq!(found("web"), Ok("abcd"));
        assert_eq!(found("FF"), Ok("ff00"));
        assert_eq!(found("b"), Ok("ff00"));
        // The one that is ours goes before another's that begins alike.
        assert_eq!(found("ab"), Ok("abcd"));
        for missing in ["", "x", "é", "abcde"] {
            assert_eq!(found(missing), Err(404), "{missing}");
        }
        assert_eq!(
            choose(&[process("a1", "", true), process("a2", "", true)], "a").unwrap_err().status.as_u16(),
            400
        );
    }

    #[test]
    fn filters_choose() {
        let one = process("abcd", "web", true);
        for (key, value, passed) in [
            ("owner", "Podman", true),
            ("owner", "docker", false),
            ("type", "container", true),
            ("type", "VirtualMachine", false),
            ("id", "AB", true),
            ("id", "é", false),
            ("name", "web", true),
            ("isolation", "hyperv", false),
        ] {
            let mut filters = Filters::default();
            filters.add(key, value);
            assert_eq!(passes(&one, &filters), passed, "{key}={value}");
        }
    }
}
