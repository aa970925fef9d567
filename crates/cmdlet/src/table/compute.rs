//! What runs: compute processes, and processes.

use super::{Cmdlet, Impact, Kind, PASSTHRU, p};

pub(super) const CMDLETS: &[Cmdlet] = &[
    Cmdlet {
        name: "Get-ComputeProcess",
        synopsis: "Gets what runs containers and virtual machines on the host, whoever created it.",
        description: "Owner is VMMS for containers that cmdlets have created and docker for the API's; containerd, \
                      podman and libvirt for what others run here. Format-List * shows the worker's process, user \
                      and what it uses.",
        sets: &["Name", "Id"],
        parameters: &[
            p("Name", Kind::Texts, "Names; wildcards.").at(0).within(&["Name"]).by_value(),
            p("Owner", Kind::Texts, "Owners; wildcards.").within(&["Name"]),
            p("Type", Kind::Enum(&["Container", "VirtualMachine"]), "Only these.").within(&["Name"]),
            p("Id", Kind::Texts, "IDs, in any case; wildcards.").at(0).must().within(&["Id"]).by_name(),
        ],
        remote: true,
        process: None,
        output: "ComputeProcess",
        example: "Get-ComputeProcess -Type Container",
    },
    Cmdlet {
        name: "Stop-ComputeProcess",
        synopsis: "Ends a compute process.",
        description: "Its container has then crashed, or with -Force been killed.",
        sets: &["ComputeProcess", "Id"],
        parameters: &[
            p("Id", Kind::Texts, "Its ID, in any case.").at(0).must().within(&["Id"]),
            p("ComputeProcess", Kind::Objects("ComputeProcess"), "The compute process.")
                .at(0)
                .must()
                .within(&["ComputeProcess"])
                .by_value(),
            p("Force", Kind::Switch, "Does not ask, and kills at once."),
            PASSTHRU,
        ],
        remote: true,
        process: Some(Impact::High),
        output: "",
        example: "Get-ComputeProcess -Name DEMO | Stop-ComputeProcess -Force",
    },
    Cmdlet {
        name: "Get-Process",
        synopsis: "Gets the processes of this host, or in a session those of the container.",
        description: "The columns are the documents', filled from their Linux counterparts: Handles are open \
                      descriptors; NPM(K) is the memory of page tables, which is never paged out; PM(K) is private \
                      memory, resident and swapped; WS(K) is resident memory; VM(M) is the size of the address space; \
                      CPU(s) is user and system time; SI is the session ID. What this user may not read stays blank. \
                      In a session, Id is the number inside, and HostId the host's for containers at the Default \
                      level; a container at the HyperV level has none on the host.",
        sets: &["Name", "Id"],
        parameters: &[
            p("Name", Kind::Texts, "Names; wildcards.").at(0).within(&["Name"]).also(&["ProcessName"]),
            p("Id", Kind::Texts, "Numbers.").must().within(&["Id"]),
        ],
        remote: false,
        process: None,
        output: "Process",
        example: "Get-Process | where {$_.ProcessName -eq 'sleep'}",
    },
];
