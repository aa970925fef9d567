//! Containers and sessions.

use super::{AS_JOB, Cmdlet, Impact, Kind, PASSTHRU, Parameter, p};

pub(super) const RUNTIME: Kind = Kind::Enum(&["Default", "HyperV"]);
const NAME: &[&str] = &["Name"];
const OBJECT: &[&str] = &["Container"];
const ID: &[&str] = &["Id"];

const NAMES: Parameter =
    p("Name", Kind::Texts, "The containers' names; * ? and [a-c] are wildcards.").at(0).must().within(NAME);
const CONTAINERS: Parameter =
    p("Container", Kind::Objects("Container"), "The containers.").at(0).must().within(OBJECT).by_value();

const SESSION: [Parameter; 3] = [
    p("ContainerId", Kind::Guid, "The container's ID.").must().within(ID).by_name(),
    p("ContainerName", Kind::Text, "The container's name.").must().within(NAME),
    p(
        "RunAsAdministrator",
        Kind::Switch,
        "Runs as root rather than as the user that the container was made for.",
    ),
];

pub(super) const CMDLETS: &[Cmdlet] = &[
    Cmdlet {
        name: "New-Container",
        synopsis: "Creates a container from an image.",
        description: "The container is off. It runs what its image says, on a terminal of its own, so that one whose \
                      image starts a shell stays until it is stopped. Without -SwitchName it is in no network until \
                      Add-ContainerNetworkAdapter is used.",
        sets: &["Name", "Image"],
        parameters: &[
            p("Name", Kind::Text, "The container's name; one is made up without it.").at(0),
            p("ContainerImageName", Kind::Text, "The image's name, in any case.")
                .must()
                .within(NAME)
                .by_name(),
            p("ContainerImagePublisher", Kind::Text, "The image's publisher.").within(NAME),
            p("ContainerImageVersion", Kind::Version, "The image's version; the newest without it.")
                .within(NAME),
            p("ContainerImage", Kind::Object("ContainerImage"), "The image.")
                .must()
                .within(&["Image"])
                .by_value(),
            p(
                "MemoryStartupBytes",
                Kind::Long,
                "The memory that is reserved: more is given back first when the host has little.",
            ),
            p(
                "MaximumMemoryBytes",
                Kind::Long,
                "The most memory that it has, at either level. Without it: no limit, and a VM of the engine's size.",
            ),
            p(
                "SwitchName",
                Kind::Text,
                "The network. \"Virtual Switch\" and NAT are the default one unless there are others of these names.",
            ),
            p(
                "RuntimeType",
                RUNTIME,
                "Default: processes on this host's kernel. HyperV: a utility VM with a kernel of its own.",
            ),
            p(
                "Path",
                Kind::Text,
                "Not supported: containers are in the daemon's data root (cofferdamd --data-root).",
            ),
            AS_JOB,
        ],
        remote: true,
        process: Some(Impact::Medium),
        output: "Container",
        example: "$con = New-Container -Name HYPVCON -ContainerImageName NanoServer -SwitchName \"Virtual Switch\" \
                  -RuntimeType HyperV",
    },
    Cmdlet {
        name: "Get-Container",
        synopsis: "Gets containers, running or not, whoever created them.",
        description: "",
        sets: &["Name", "Id"],
        parameters: &[
            p("Name", Kind::Texts, "Names; * ? and [a-c] are wildcards.").at(0).within(NAME).by_value(),
            p("Id", Kind::Guid, "An ID, or the beginning of one.").at(0).must().within(ID).by_name(),
        ],
        remote: true,
        process: None,
        output: "Container",
        example: "Get-Container | Select Name, RuntimeType, ContainerId | Where {$_.RuntimeType -eq 'HyperV'}",
    },
    Cmdlet {
        name: "Set-Container",
        synopsis: "Changes a container: its isolation level, both ways, or its name.",
        description: "The container must be off. ID, files, networks, limits and the rest stay.",
        sets: &["Container", "Name"],
        parameters: &[
            NAMES,
            CONTAINERS,
            p(
                "RuntimeType",
                RUNTIME,
                "Default: processes on this host's kernel. HyperV: a utility VM with a kernel of its own.",
            ),
            p("NewName", Kind::Text, "The new name, for one container."),
            PASSTHRU,
        ],
        remote: true,
        process: Some(Impact::Medium),
        output: "Container, with -Passthru",
        example: "Set-Container $con -RuntimeType HyperV",
    },
    Cmdlet {
        name: "Start-Container",
        synopsis: "Starts containers.",
        description: "",
        sets: &["Name", "Container"],
        parameters: &[NAMES, CONTAINERS, AS_JOB, PASSTHRU],
        remote: true,
        process: Some(Impact::Medium),
        output: "Container, with -Passthru",
        example: "Get-Container -Name S* | Start-Container",
    },
    Cmdlet {
        name: "Stop-Container",
        synopsis: "Stops containers.",
        description: "Their first process is asked to end, and killed when it has not after its time to stop.",
        sets: &["Name", "Container"],
        parameters: &[
            NAMES,
            CONTAINERS,
            p("TurnOff", Kind::Switch, "Kills at once, like pulling the plug.").also(&["Kill"]),
            AS_JOB,
            PASSTHRU,
        ],
        remote: true,
        process: Some(Impact::Medium),
        output: "Container, with -Passthru",
        example: "Stop-Container -Name DEMO",
    },
    Cmdlet {
        name: "Remove-Container",
        synopsis: "Removes containers with all that they have written.",
        description: "Asks before it does so, unless -Force or -Confirm:$false is given.",
        sets: &["Name", "Container"],
        parameters: &[
            NAMES,
            CONTAINERS,
            p("Force", Kind::Switch, "Does not ask, and removes containers that are running, too."),
            AS_JOB,
            PASSTHRU,
        ],
        remote: true,
        process: Some(Impact::High),
        output: "Container, with -Passthru",
        example: "Get-Container | Remove-Container -Force",
    },
    Cmdlet {
        name: "Enter-PSSession",
        synopsis: "Opens a session in a running container, at either level.",
        description: "Lines run in the container's shell, each with nothing to read from; variables and the directory \
                      stay from line to line. Get-Process lists the container's processes. exit or Exit-PSSession \
                      ends it, and everything that it has started with it. As in a session of PowerShell, programs \
                      that draw on a terminal do not work: `cofferdam exec -it` is for those.",
        sets: &["Id", "Name"],
        parameters: &SESSION,
        remote: false,
        process: None,
        output: "",
        example: "Enter-PSSession -ContainerId $con.ContainerId -RunAsAdministrator",
    },
    Cmdlet {
        name: "Exit-PSSession",
        synopsis: "Ends the session.",
        description: "",
        sets: &["All"],
        parameters: &[],
        remote: false,
        process: None,
        output: "",
        example: "Exit-PSSession",
    },
    Cmdlet {
        name: "Invoke-Command",
        synopsis: "Runs one block in a running container, in its shell.",
        description: "The block's text is the shell's; what it prints are the objects, line by line. A pipeline of \
                      Get-Process is run by the console, as in a session.",
        sets: &["Id", "Name"],
        parameters: &[
            SESSION[0],
            SESSION[1],
            SESSION[2],
            p("ScriptBlock", Kind::Script, "What to run.").at(0).must().also(&["Command"]),
        ],
        remote: false,
        process: None,
        output: "System.String",
        example: "Invoke-Command -ContainerName DEMO { uname -r }",
    },
    Cmdlet {
        name: "Get-ContainerHost",
        synopsis: "Gets the host of the containers: this one, or a remote daemon's.",
        description: "",
        sets: &["All"],
        parameters: &[],
        remote: true,
        process: None,
        output: "ContainerHost",
        example: "Get-ContainerHost",
    },
];
