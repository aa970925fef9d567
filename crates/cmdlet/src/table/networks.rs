//! Network adapters of containers, switches, and NAT.

use super::{Cmdlet, Impact, Kind, PASSTHRU, Parameter, p};

const NAME: &[&str] = &["ContainerName"];
const OBJECT: &[&str] = &["Container"];
const SETS: &[&str] = &["ContainerName", "Container"];

const CONTAINER_NAME: Parameter =
    p("ContainerName", Kind::Texts, "The containers' names; wildcards.").at(0).must().within(NAME).by_name();
const CONTAINER: Parameter =
    p("Container", Kind::Objects("Container"), "The containers.").at(0).must().within(OBJECT).by_value();
const ADAPTER: Parameter =
    p("Name", Kind::Text, "The adapter's name, which is its switch's; wildcards.").at(1).by_name();
const SWITCH: Parameter = p("SwitchName", Kind::Text, "The network.").must();
const DYNAMIC: Parameter =
    p("DynamicMacAddress", Kind::Switch, "The engine chooses the MAC address, as without it.");
const STATIC: Parameter = p("StaticMacAddress", Kind::Text, "The MAC address, with or without separators.");
const BANDWIDTH: Parameter =
    p("MaximumBandwidth", Kind::Long, "Bits a second. Not supported: the engine limits disks, not networks.");

pub(super) const CMDLETS: &[Cmdlet] = &[
    Cmdlet {
        name: "Add-ContainerNetworkAdapter",
        synopsis: "Puts containers in a further network, running or not.",
        description: "",
        sets: SETS,
        parameters: &[
            CONTAINER_NAME,
            CONTAINER,
            p("SwitchName", Kind::Text, "The network; the default one without it.").at(1),
            p("Name", Kind::Text, "A further name of the container in that network, for others to look up."),
            DYNAMIC,
            STATIC,
            BANDWIDTH,
            PASSTHRU,
        ],
        remote: true,
        process: Some(Impact::Medium),
        output: "ContainerNetworkAdapter, with -Passthru",
        example: "Add-ContainerNetworkAdapter -ContainerName DEMO -SwitchName NAT",
    },
    Cmdlet {
        name: "Set-ContainerNetworkAdapter",
        synopsis: "Gives an adapter another MAC address.",
        description: "The container leaves the network and joins it again.",
        sets: SETS,
        parameters: &[CONTAINER_NAME, CONTAINER, ADAPTER, DYNAMIC, STATIC, BANDWIDTH, PASSTHRU],
        remote: true,
        process: Some(Impact::Medium),
        output: "ContainerNetworkAdapter, with -Passthru",
        example: "Set-ContainerNetworkAdapter -ContainerName DEMO -Name NAT -StaticMacAddress 00-15-5D-00-00-01",
    },
    Cmdlet {
        name: "Get-ContainerNetworkAdapter",
        synopsis: "Gets the adapters of containers.",
        description: "",
        sets: SETS,
        parameters: &[CONTAINER_NAME, CONTAINER, ADAPTER],
        remote: true,
        process: None,
        output: "ContainerNetworkAdapter",
        example: "Get-Container | Get-ContainerNetworkAdapter",
    },
    Cmdlet {
        name: "Remove-ContainerNetworkAdapter",
        synopsis: "Takes containers out of a network.",
        description: "",
        sets: SETS,
        parameters: &[CONTAINER_NAME, CONTAINER, ADAPTER, PASSTHRU],
        remote: true,
        process: Some(Impact::Medium),
        output: "ContainerNetworkAdapter, with -Passthru",
        example: "Remove-ContainerNetworkAdapter -ContainerName DEMO -Name NAT",
    },
    Cmdlet {
        name: "Connect-ContainerNetworkAdapter",
        synopsis: "Connects containers to a switch.",
        description: "An adapter and its connection are one thing here, so this is Add-ContainerNetworkAdapter, and \
                      with -Name it leaves that network for the new one.",
        sets: SETS,
        parameters: &[CONTAINER_NAME, CONTAINER, ADAPTER, SWITCH, PASSTHRU],
        remote: true,
        process: Some(Impact::Medium),
        output: "ContainerNetworkAdapter, with -Passthru",
        example: "Connect-ContainerNetworkAdapter -ContainerName DEMO -SwitchName NAT",
    },
    Cmdlet {
        name: "Disconnect-ContainerNetworkAdapter",
        synopsis: "Disconnects containers from their switches.",
        description: "An adapter and its connection are one thing here, so this is Remove-ContainerNetworkAdapter.",
        sets: SETS,
        parameters: &[CONTAINER_NAME, CONTAINER, ADAPTER, PASSTHRU],
        remote: true,
        process: Some(Impact::Medium),
        output: "ContainerNetworkAdapter, with -Passthru",
        example: "Disconnect-ContainerNetworkAdapter -ContainerName DEMO",
    },
    Cmdlet {
        name: "New-VMSwitch",
        synopsis: "Creates a network for containers: a bridge with NAT, or a part of an adapter's own network.",
        description: "-NetAdapterName makes a macvlan network: containers are in the adapter's network themselves.",
        sets: &["Nat", "External"],
        parameters: &[
            p("Name", Kind::Text, "The network's name.").at(0).must(),
            p("SwitchType", Kind::Enum(&["NAT", "Internal", "Private"]), "NAT, or without a way out.")
                .within(&["Nat"]),
            p("NATSubnetAddress", Kind::Text, "The subnet, as 172.16.0.0/12; a free one without it.")
                .within(&["Nat"]),
            p("NetAdapterName", Kind::Text, "An interface of the host.").must().within(&["External"]),
        ],
        remote: true,
        process: Some(Impact::Medium),
        output: "VMSwitch",
        example: "New-VMSwitch -Name NAT -SwitchType NAT -NATSubnetAddress \"172.16.0.0/12\"",
    },
    Cmdlet {
        name: "Get-VMSwitch",
        synopsis: "Gets the networks.",
        description: "The engine's default network is called NAT unless another one is.",
        sets: &["All"],
        parameters: &[p("Name", Kind::Texts, "Names; * ? and [a-c] are wildcards.").at(0)],
        remote: true,
        process: None,
        output: "VMSwitch",
        example: "Get-VMSwitch",
    },
    Cmdlet {
        name: "New-NetNat",
        synopsis: "Confirms the NAT of a network that has this subnet.",
        description: "A bridge network brings its own NAT, so nothing is made: the network of the subnet must be there, \
                      and the name is not kept.",
        sets: &["All"],
        parameters: &[
            p("Name", Kind::Text, "A name.").at(0).must(),
            p("InternalIPInterfaceAddressPrefix", Kind::Text, "The subnet.").must(),
        ],
        remote: true,
        process: Some(Impact::Medium),
        output: "NetNat",
        example: "New-NetNat -Name ContainerNat -InternalIPInterfaceAddressPrefix 172.16.0.0/12",
    },
    Cmdlet {
        name: "Add-NetNatStaticMapping",
        synopsis: "Publishes a port of a container.",
        description: "Ports are published when a container is created (docker run -p), so this cmdlet always fails, \
                      and names the container that has the address and what to do.",
        sets: &["All"],
        parameters: &[
            p("NatName", Kind::Text, "The NAT's name.").must(),
            p("Protocol", Kind::Enum(&["TCP", "UDP"]), "The protocol.").must(),
            p("ExternalIPAddress", Kind::Text, "The host's address; 0.0.0.0 for all of them.").must(),
            p("InternalIPAddress", Kind::Text, "The container's address.").must(),
            p("InternalPort", Kind::Long, "The container's port.").must(),
            p("ExternalPort", Kind::Long, "The host's port.").must(),
        ],
        remote: true,
        process: Some(Impact::Medium),
        output: "",
        example: "Add-NetNatStaticMapping -NatName ContainerNat -Protocol TCP -ExternalIPAddress 0.0.0.0 \
                  -InternalIPAddress 172.16.0.2 -InternalPort 80 -ExternalPort 80",
    },
    Cmdlet {
        name: "Get-NetNatStaticMapping",
        synopsis: "Gets the ports that running containers publish.",
        description: "",
        sets: &["All"],
        parameters: &[p("NatName", Kind::Texts, "Networks; wildcards.").at(0)],
        remote: true,
        process: None,
        output: "NetNatStaticMapping",
        example: "Get-NetNatStaticMapping",
    },
];
