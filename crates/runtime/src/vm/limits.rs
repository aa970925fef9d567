//! A container's limits, divided: what its VM's worker process gets on the host, and what the container gets in the
//! guest. The worker's hold whatever the guest does.

use cofferdam_hypervisor::{DiskRates, qemu};
use cofferdam_model::resources::{BlockIo, Cpu, DiskRate, Memory, Pids, number_list};
use cofferdam_model::{Resources, VmSpec};

/// Threads of the worker process that its control group allows, beside one for each virtual CPU.
const THREADS: i64 = 96;

/// The worker's: all of the VM's memory and what QEMU needs itself, and the container's share of processors and disks.
pub(super) fn of_worker(asked: &Resources, vm: &VmSpec) -> Resources {
    let own = qemu::memory_overhead(vm.kvm);
    Resources {
        memory: Memory {
            limit: Some(vm.memory.saturating_add(own)),
            reservation: asked.memory.reservation.map(|bytes| bytes.saturating_add(own)),
            // The guest has no swap, but the host may swap the guest.
            swappiness: asked.memory.swappiness,
            ..Memory::default()
        },
        cpu: Cpu { realtime_runtime: None, realtime_period: None, ..asked.cpu.clone() },
        pids: Pids { limit: Some(THREADS + i64::from(vm.cpus)) },
        block_io: BlockIo {
            weight: asked.block_io.weight,
            weight_device: asked.block_io.weight_device.clone(),
            ..BlockIo::default()
        },
    }
}

/// The VM's disks': all of them lie on the disk that the rates name (the daemon sees to that).
pub(super) fn of_disks(asked: &Resources) -> DiskRates {
    let least =
        |rates: &[DiskRate]| rates.iter().map(|one| one.rate).filter(|rate| *rate > 0).min().unwrap_or(0);
    DiskRates {
        read_bytes: least(&asked.block_io.throttle_read_bps_device),
        write_bytes: least(&asked.block_io.throttle_write_bps_device),
        reads: least(&asked.block_io.throttle_read_iops_device),
        writes: least(&asked.block_io.throttle_write_iops_device),
    }
}

/// The container's in the guest, where the host's processors, memory nodes and disks have no numbers.
pub(super) fn of_guest(asked: &Resources, vm: &VmSpec) -> Resources {
    let cpus = asked.cpu.cpus.as_deref().and_then(number_list);
    let cpus = cpus.map(|cpus| u32::try_from(cpus.len()).unwrap_or(u32::MAX).min(vm.cpus).max(1));
    Resources {
        memory: Memory {
            limit: asked.memory.limit,
            reservation: asked.memory.reservation,
            ..Memory::default()
        },
        cpu: Cpu {
            shares: asked.cpu.shares,
            quota: asked.cpu.quota,
            period: asked.cpu.period,
            cpus: cpus.map(|cpus| format!("0-{}", cpus - 1)),
            ..Cpu::default()
        },
        pids: asked.pids.clone(),
        block_io: BlockIo::default(),
    }
}

#[cfg(test)]
mod tests {
    use cofferdam_model::VmStart;

    use super::*;

    fn vm() -> VmSpec {
        VmSpec {
            hypervisor: "/q".into(),
            kernel: "/k".into(),
            initrd: "/i".into(),
            memory: 256 << 20,
            cpus: 2,
            kvm: false,
            uid: 7,
            user: String::new(),
            start: VmStart::Boot { reason: String::new() },
        }
    }

    #[test]
    fn each_side_gets_what_means_something_there() {
        let asked = Resources {
            memory: Memory {
                limit: Some(64 << 20),
                reservation: Some(32 << 20),
                swappiness: Some(5),
                ..Memory::default()
            },
            cpu: Cpu {
                shares: Some(512),
                quota: Some(50_000),
                cpus: Some("1,3".to_owned()),
                mems: Some("0".to_owned()),
                ..Cpu::default()
            },
            pids: Pids { limit: Some(20) },
            block_io: BlockIo {
                weight: Some(300),
                throttle_read_bps_device: vec![DiskRate { major: 8, minor: 0, rate: 1000 }],
                ..BlockIo::default()
            },
        };
        assert_eq!(of_disks(&asked), DiskRates { read_bytes: 1000, ..DiskRates::default() });
        let (worker, guest) = (of_worker(&asked, &vm()), of_guest(&asked, &vm()));
        assert_eq!(worker.memory.limit, Some((256 << 20) + qemu::memory_overhead(false)));
        assert_eq!((worker.memory.swappiness, worker.block_io.weight), (Some(5), Some(300)));
        assert_eq!((&worker.cpu, worker.pids.limit), (&asked.cpu, Some(98)));
        assert_eq!((guest.memory.limit, guest.memory.swappiness), (Some(64 << 20), None));
        assert_eq!((guest.cpu.quota, guest.cpu.mems.as_deref()), (Some(50_000), None));
        assert_eq!(guest.cpu.cpus.as_deref(), Some("0-1"));
        assert_eq!((guest.pids, guest.block_io), (asked.pids, BlockIo::default()));
    }

    #[test]
    fn no_more_processors_than_the_vm_has() {
        let cpus = |list: &str| {
            let cpu = Cpu { cpus: Some(list.to_owned()), ..Cpu::default() };
            of_guest(&Resources { cpu, ..Resources::default() }, &vm()).cpu.cpus.unwrap()
        };
        assert_eq!([cpus("7").as_str(), cpus("0-7").as_str()], ["0-0", "0-1"]);
    }
}
