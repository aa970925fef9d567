//! QEMU's command line: a pure function.
//!
//! The list of devices and their order are the same for every VM, whether it has a network or shares or not, because
//! a clone must have the devices of its template. Sockets and disks are passed as descriptors: the jail holds no file
//! of the container.

use cofferdam_model::GuestMemory;

/// The descriptors' indices in the order in which they are passed.
pub const FD_IMAGE: usize = 0;
/// The writable disk.
pub const FD_WRITABLE: usize = 1;
/// The agent's port.
pub const FD_AGENT: usize = 2;
/// The share port.
pub const FD_SHARE: usize = 3;
/// QMP.
pub const FD_QMP: usize = 4;
/// The TAP device, if there is one.
pub const FD_TAP: usize = 5;

/// The kernel's path in the jail.
pub const KERNEL: &str = "/guest/kernel";
/// The initial RAM disk's path in the jail.
pub const INITRD: &str = "/guest/initrd";
/// QMP's name of the console's ring buffer.
pub const CONSOLE: &str = "console";

/// What differs from VM to VM.
#[derive(Clone, Debug)]
pub struct CommandLine<'a> {
    /// QEMU's program.
    pub program: &'a str,
    /// The container's ID.
    pub id: &'a str,
    /// Memory in bytes.
    pub memory: u64,
    /// The file that holds the memory.
    pub file: Option<Mapping>,
    /// Whether the VM boots a kernel; else it waits for a saved state.
    pub boots: bool,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Whether to use KVM.
    pub kvm: bool,
    /// Whether a TAP device is passed.
    pub tap: bool,
    /// The MAC address.
    pub mac: &'a str,
    /// The names of the agent's port and the share port.
    pub ports: [&'a str; 2],
}

/// How a memory file is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// Written changes stay in the process.
    Private,
    /// They go into the file.
    Shared,
}

impl CommandLine<'_> {
    /// What tells whose VM it is, for a command line that is only to be looked at.
    #[must_use]
    pub fn title(&self) -> Vec<String> {
        vec![self.program.to_owned(), "-name".to_owned(), format!("cofferdam-{}", self.id)]
    }

    /// Program and arguments; `{fd:N}` stands for the N-th descriptor's number.
    #[must_use]
    pub fn build(&self) -> Vec<String> {
        let mut line = self.title();
        let mut add = |option: &str, value: String| line.extend([option.to_owned(), value]);
        let megabytes = self.memory.div_ceil(1 << 20).max(64);
        let mut machine = "q35,usb=off,vmport=off,smbus=off,sata=off,hpet=off,graphics=off".to_owned();
        if let Some(mapping) = self.file {
            machine.push_str(",memory-backend=ram");
            let share = if mapping == Mapping::Shared { "on" } else { "off" };
            let path = GuestMemory::INSIDE;
            add(
                "-object",
                format!("memory-backend-file,id=ram,size={megabytes}M,mem-path={path},share={share}"),
            );
        }
        add("-machine", machine);
        if self.kvm {
            add("-accel", "kvm".to_owned());
            add("-cpu", "host".to_owned());
        } else {
            // One thread for all processors: with one for each, QEMU 7.2 was seen to run code of the guest's kernel
            // that another processor was about to patch, and 1 boot in 20 died of it.
            // The code cache is bounded, because it counts against the container's control group.
            add("-accel", format!("tcg,thread=single,tb-size={TCG_CODE_MIB}"));
            add("-cpu", "max".to_owned());
        }
        add("-smp", self.cpus.max(1).to_string());
        add("-m", format!("{megabytes}M"));
        line.extend(["-nodefaults", "-no-user-config"].map(str::to_owned));
        let mut add = |option: &str, value: String| line.extend([option.to_owned(), value]);
        add("-display", "none".to_owned());
        // A guest that reboots, powers off or panics is paused, so that its last words can be read.
        add("-action", "reboot=shutdown,shutdown=pause,panic=pause".to_owned());
        add("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny".to_owned());
        if self.boots {
            add("-kernel", KERNEL.to_owned());
            add("-initrd", INITRD.to_owned());
            add("-append", kernel_arguments(self.kvm));
        } else {
            // What it would boot is in its memory already.
            add("-incoming", "defer".to_owned());
        }

        add("-chardev", format!("socket,id=qmp,fd={{fd:{FD_QMP}}}"));
        add("-mon", "chardev=qmp,mode=control".to_owned());
        add("-chardev", format!("ringbuf,id={CONSOLE},size=65536"));
        add("-device", format!("isa-serial,chardev={CONSOLE}"));

        add("-add-fd", format!("fd={{fd:{FD_IMAGE}}},set=1"));
        add("-blockdev", "driver=file,node-name=image,filename=/dev/fdset/1,read-only=on".to_owned());
        add("-device", pci(&format!("virtio-blk-pci,id={},drive=image", DISKS[0]), 2));
        add("-add-fd", format!("fd={{fd:{FD_WRITABLE}}},set=2"));
        add("-blockdev", "driver=file,node-name=writable,filename=/dev/fdset/2,discard=unmap".to_owned());
        add("-device", pci(&format!("virtio-blk-pci,id={},drive=writable", DISKS[1]), 3));
        let netdev = if self.tap {
            format!("tap,id=net0,fd={{fd:{FD_TAP}}}")
        } else {
            // A hub with no other port: the guest's interface exists and reaches nothing.
            "hubport,id=net0,hubid=0".to_owned()
        };
        add("-netdev", netdev);
        add("-device", pci(&format!("virtio-net-pci,id=nic0,netdev=net0,romfile=,mac={}", self.mac), 4));
        add("-device", pci("virtio-serial-pci,id=ports,max_ports=4", 5));
        for (number, (name, fd)) in
            [(self.ports[0], FD_AGENT), (self.ports[1], FD_SHARE)].into_iter().enumerate()
        {
            let number = number + 1;
            add("-chardev", format!("socket,id=port{number},fd={{fd:{fd}}}"));
            add(
                "-device",
                format!("virtserialport,bus=ports.0,nr={number},chardev=port{number},name={name}"),
            );
        }
        // The guest reports the pages that it does not use, and the host gets them back.
        add("-device", pci("virtio-balloon-pci,id=balloon,free-page-reporting=on", 6));
        line
    }
}

/// QEMU's names for the two disks.
pub const DISKS: [&str; 2] = ["disk0", "disk1"];

/// TCG's translated code, in MiB.
pub const TCG_CODE_MIB: u64 = 128;

fn pci(device: &str, slot: u8) -> String {
    format!("{device},disable-legacy=on,bus=pcie.0,addr=0x{slot:x}")
}

/// The guest kernel's command line. The console takes only errors: each line costs emulated port accesses.
///
/// `mitigations=off` with the emulator: the guest's code is translated and does not run speculatively as the guest
/// wrote it, and the wall around the container is QEMU's process, not the guest's kernel. With KVM they stay on. So does
/// zeroing memory before it is given out, which the emulator does slowly and each private page of a clone pays for.
fn kernel_arguments(kvm: bool) -> String {
    let mut arguments = [
        "console=ttyS0 quiet loglevel=3 panic=-1 oops=panic",
        // The clock is the host's: nothing to calibrate or to distrust.
        "tsc=reliable no_timer_check random.trust_cpu=on",
        // Self-tests of ciphers and the search for further serial ports take an emulated guest half a second.
        "cryptomgr.notests=1 8250.nr_uarts=1",
        "audit=0 ima=off lsm=landlock,yama,capability cgroup_no_v1=all",
    ]
    .join(" ");
    if !kvm {
        arguments.push_str(" mitigations=off init_on_alloc=0");
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(kvm: bool, tap: bool) -> Vec<String> {
        let id = "ab";
        CommandLine {
            program: "/q",
            id,
            memory: 300 << 20,
            file: None,
            boots: true,
            cpus: 2,
            kvm,
            tap,
            mac: "02:42:00:00:00:01",
            ports: ["a", "s"],
        }
        .build()
    }

    fn devices(line: &[String]) -> Vec<String> {
        let pairs = line.windows(2).filter(|pair| pair[0] == "-device");
        pairs.map(|pair| pair[1].split(',').next().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_devices_do_not_depend_on_network_or_accelerator() {
        let expected = [
            "isa-serial",
            "virtio-blk-pci",
            "virtio-blk-pci",
            "virtio-net-pci",
            "virtio-serial-pci",
            "virtserialport",
            "virtserialport",
            "virtio-balloon-pci",
        ];
        for (kvm, tap) in [(false, false), (false, true), (true, true)] {
            assert_eq!(devices(&line(kvm, tap)), expected);
        }
    }

    #[test]
    fn no_host_path_but_the_program_is_named() {
        let line = line(false, true);
        assert_eq!(line[0], "/q");
        let paths = line[1..].iter().filter(|argument| argument.contains("=/") || argument.starts_with('/'));
        assert!(paths.clone().all(|p| p.contains("/dev/fdset/") || p.starts_with("/guest/")), "{line:?}");
        assert!(line.contains(&"300M".to_owned()));
    }

    #[test]
    fn the_sandbox_is_on_and_defaults_are_off() {
        let line = line(true, false);
        assert!(line.contains(&"-nodefaults".to_owned()) && line.contains(&"-no-user-config".to_owned()));
        let sandbox = line.iter().position(|argument| argument == "-sandbox").unwrap();
        for denied in ["obsolete", "elevateprivileges", "spawn", "resourcecontrol"] {
            assert!(line[sandbox + 1].contains(&format!("{denied}=deny")));
        }
    }
}
