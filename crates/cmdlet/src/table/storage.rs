//! Shared folders and limits.

use super::{Cmdlet, Impact, Kind, PASSTHRU, Parameter, p};

const NAME: &[&str] = &["ContainerName"];
const OBJECT: &[&str] = &["Container"];
const SETS: &[&str] = &["ContainerName", "Container"];
const CONTAINER_NAME: Parameter =
    p("ContainerName", Kind::Texts, "The containers' names; wildcards.").at(0).must().within(NAME).by_name();
const CONTAINER: Parameter =
    p("Container", Kind::Objects("Container"), "The containers.").at(0).must().within(OBJECT).by_value();
const MODE: Parameter =
    p("AccessMode", Kind::Enum(&["ReadWrite", "ReadOnly"]), "ReadWrite without it.").by_name();
const FIXED: &str = "A container's folders are chosen when it is created (docker run -v), so this cmdlet always fails, \
                     and says what to do.";

pub(super) const CMDLETS: &[Cmdlet] = &[
    Cmdlet {
        name: "Add-ContainerSharedFolder",
        synopsis: "Shares a directory of the host with a container.",
        description: FIXED,
        sets: SETS,
        parameters: &[
            CONTAINER_NAME,
            CONTAINER,
            p("SourcePath", Kind::Text, "The host's directory.").at(1).must(),
            p("DestinationPath", Kind::Text, "Where it is in the container.").at(2).must(),
            MODE,
            PASSTHRU,
        ],
        remote: true,
        process: Some(Impact::Medium),
        output: "ContainerSharedFolder, with -Passthru",
        example: "Add-ContainerSharedFolder -ContainerName DEMO -SourcePath /srv/share -DestinationPath /share",
    },
    Cmdlet {
        name: "Set-ContainerSharedFolder",
        synopsis: "Changes how a directory is shared.",
        description: FIXED,
        sets: SETS,
        parameters: &[
            CONTAINER_NAME,
            CONTAINER,
            p("SourcePath", Kind::Text, "The host's directory.").at(1),
            p("DestinationPath", Kind::Text, "Where it is in the container.").at(2).must(),
            MODE,
            PASSTHRU,
        ],
        remote: true,
        process: Some(Impact::Medium),
        output: "ContainerSharedFolder, with -Passthru",
        example: "Set-ContainerSharedFolder -ContainerName DEMO -DestinationPath /share -AccessMode ReadOnly",
    },
    Cmdlet {
        name: "Get-ContainerSharedFolder",
        synopsis: "Gets the directories of the host that containers share.",
        description: "",
        sets: SETS,
        parameters: &[
            CONTAINER_NAME,
            CONTAINER,
            p("SourcePath", Kind::Text, "The host's directory; wildcards.").at(1),
            p("DestinationPath", Kind::Text, "Where it is in the container; wildcards.").at(2),
        ],
        remote: true,
        process: None,
        output: "ContainerSharedFolder",
        example: "Get-Container | Get-ContainerSharedFolder",
    },
    Cmdlet {
        name: "Remove-ContainerSharedFolder",
        synopsis: "Ends the sharing of a directory.",
        description: FIXED,
        sets: SETS,
        parameters: &[
            CONTAINER_NAME,
            CONTAINER,
            p("SourcePath", Kind::Text, "The host's directory.").at(1),
            p("DestinationPath", Kind::Text, "Where it is in the container.").at(2),
            PASSTHRU,
        ],
        remote: true,
        process: Some(Impact::Medium),
        output: "ContainerSharedFolder, with -Passthru",
        example: "Remove-ContainerSharedFolder -ContainerName DEMO -DestinationPath /share",
    },
    Cmdlet {
        name: "Set-ContainerMemory",
        synopsis: "Limits a container's memory, running or not.",
        description: "The limit is the container's, and at the HyperV level its VM's, too.",
        sets: SETS,
        parameters: &[
            CONTAINER_NAME,
            CONTAINER,
            p("MaximumBytes", Kind::Long, "The most memory.").at(1).must(),
            PASSTHRU,
        ],
        remote: true,
        process: Some(Impact::Medium),
        output: "Container, with -Passthru",
        example: "Set-ContainerMemory -ContainerName DEMO -MaximumBytes 256MB",
    },
    Cmdlet {
        name: "Set-ContainerProcessor",
        synopsis: "Limits a container's share of the processors.",
        description: "A weight of 100 is Docker's --cpu-shares 1024. -Maximum resets the weight to 100.",
        sets: SETS,
        parameters: &[
            CONTAINER_NAME,
            CONTAINER,
            p("RelativeWeight", Kind::Long, "From 1 to 10000; 100 is what containers have."),
            p("Maximum", Kind::Long, "Per cent of all processors of the host; 100 is no limit."),
            PASSTHRU,
        ],
        remote: true,
        process: Some(Impact::Medium),
        output: "Container, with -Passthru",
        example: "Set-ContainerProcessor -ContainerName DEMO -Maximum 50",
    },
    Cmdlet {
        name: "Set-ContainerStorage",
        synopsis: "Limits what a container reads and writes.",
        description: "Rates are chosen when a container is created (docker run --device-write-bps), so this cmdlet \
                      always fails, and says so.",
        sets: SETS,
        parameters: &[
            CONTAINER_NAME,
            CONTAINER,
            p("MaximumBandwidth", Kind::Long, "Bytes a second."),
            p("MaximumIOPS", Kind::Long, "Operations of 8 KiB a second."),
            PASSTHRU,
        ],
        remote: true,
        process: Some(Impact::Medium),
        output: "",
        example: "Set-ContainerStorage -ContainerName DEMO -MaximumBandwidth 10MB",
    },
];
