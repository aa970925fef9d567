//! Images.

use super::{AS_JOB, Cmdlet, Impact, Kind, PASSTHRU, Parameter, p};

const NAME: &[&str] = &["Name"];
const IMAGE: &[&str] = &["Image"];

const fn named(must: bool) -> [Parameter; 3] {
    let name = p("Name", Kind::Text, "The image's name; * ? and [a-c] are wildcards.").at(0).within(NAME);
    [
        if must { name.must() } else { name },
        p("Publisher", Kind::Text, "Its publisher; wildcards.").within(NAME).at(1),
        p("Version", Kind::Version, "Its version; wildcards.").within(NAME).at(2),
    ]
}

const NAMED: [Parameter; 3] = named(true);
const ANY: [Parameter; 3] = named(false);
const IMAGES: Parameter =
    p("Image", Kind::Objects("ContainerImage"), "The images.").at(0).must().within(IMAGE).by_value();

pub(super) const CMDLETS: &[Cmdlet] = &[
    Cmdlet {
        name: "Get-ContainerImage",
        synopsis: "Gets the images that are here.",
        description: "An image has one object for each of its names. Version is the tag, or of the tag latest the \
                      version that the image's label org.opencontainers.image.version has; Publisher is CN= and the \
                      label org.opencontainers.image.vendor, or the registry. An OS image is one that is based on no \
                      other image that is here.",
        sets: &["Name"],
        parameters: &[
            ANY[0],
            ANY[1],
            ANY[2],
            p("ChildOf", Kind::Object("ContainerImage"), "Only images that are based on this one."),
        ],
        remote: true,
        process: None,
        output: "ContainerImage",
        example: "Get-ContainerImage -Name nano*",
    },
    Cmdlet {
        name: "New-ContainerImage",
        synopsis: "Makes an image of what a container has changed.",
        description: "Name is made lower-case, as images' names are.",
        sets: &["Container", "ContainerName", "ContainerId"],
        parameters: &[
            p("ContainerName", Kind::Text, "The container's name.").at(0).must().within(&["ContainerName"]),
            p("Container", Kind::Object("Container"), "The container.")
                .at(0)
                .must()
                .within(&["Container"])
                .by_value(),
            p("ContainerId", Kind::Guid, "The container's ID.").must().within(&["ContainerId"]),
            p("Name", Kind::Text, "The image's name.").at(1).must(),
            p("Publisher", Kind::Text, "Its publisher, CN= or not.").at(2),
            p("Version", Kind::Version, "Its version, which is its tag; latest without it.").at(3),
        ],
        remote: true,
        process: Some(Impact::Medium),
        output: "ContainerImage",
        example: "New-ContainerImage -ContainerName DEMO -Name web -Publisher Contoso -Version 1.0",
    },
    Cmdlet {
        name: "Remove-ContainerImage",
        synopsis: "Removes images that no container depends on.",
        description: "Asks before it does so, unless -Force or -Confirm:$false is given.",
        sets: &["Name", "Image"],
        parameters: &[NAMED[0], NAMED[1], NAMED[2], IMAGES, p("Force", Kind::Switch, "Does not ask.")],
        remote: true,
        process: Some(Impact::High),
        output: "",
        example: "Remove-ContainerImage -Name web -Version 1.0 -Force",
    },
    Cmdlet {
        name: "Export-ContainerImage",
        synopsis: "Writes images to files, as docker save does.",
        description: "Each becomes NAME_VERSION.tar in the directory.",
        sets: &["Name", "Image"],
        parameters: &[
            NAMED[0],
            NAMED[1],
            p("Version", Kind::Version, "Its version; wildcards.").within(NAME).at(3),
            IMAGES,
            p("Path", Kind::Text, "The directory.").at(2).must(),
            AS_JOB,
            PASSTHRU,
        ],
        remote: true,
        process: Some(Impact::Medium),
        output: "ContainerImage, with -Passthru",
        example: "Export-ContainerImage -Name web -Path ./images",
    },
    Cmdlet {
        name: "Import-ContainerImage",
        synopsis: "Loads images from a file that Export-ContainerImage or docker save has written.",
        description: "",
        sets: &["All"],
        parameters: &[p("Path", Kind::Text, "The file.").at(0).must().by_value().by_name(), AS_JOB],
        remote: true,
        process: Some(Impact::Medium),
        output: "ContainerImage",
        example: "Import-ContainerImage -Path ./images/web_1.0.tar",
    },
    Cmdlet {
        name: "Test-ContainerImage",
        synopsis: "Tells whether images are complete and what they need is here.",
        description: "",
        sets: &["Name", "Image"],
        parameters: &[ANY[0], ANY[1], ANY[2], IMAGES],
        remote: true,
        process: None,
        output: "ContainerImageReport",
        example: "Get-ContainerImage | Test-ContainerImage",
    },
    Cmdlet {
        name: "Find-ContainerImage",
        synopsis: "Finds images that Install-ContainerImage can make without a registry.",
        description: "",
        sets: &["All"],
        parameters: &[
            p("Name", Kind::Text, "The name; * ? and [a-c] are wildcards.").at(0),
            p("Version", Kind::Version, "The version; wildcards.").at(1),
        ],
        remote: false,
        process: None,
        output: "ContainerImageOffer",
        example: "Find-ContainerImage",
    },
    Cmdlet {
        name: "Install-ContainerImage",
        synopsis: "Makes a built-in image, or pulls one from a registry.",
        description: "A name that Find-ContainerImage gives is made here; any other is pulled, with the credentials of \
                      docker login.",
        sets: &["All"],
        parameters: &[
            p("Name", Kind::Text, "The image's name.").at(0).must().by_name(),
            p("Version", Kind::Version, "The tag.").at(1),
        ],
        remote: true,
        process: Some(Impact::Medium),
        output: "ContainerImage",
        example: "Install-ContainerImage -Name NanoServer",
    },
    Cmdlet {
        name: "Save-ContainerImage",
        synopsis: "Pulls an image and writes it to a file, as docker save does.",
        description: "",
        sets: &["All"],
        parameters: &[
            p("Name", Kind::Text, "The image's name.").at(0).must().by_name(),
            p("Version", Kind::Version, "The tag."),
            p("Path", Kind::Text, "The file, or the directory for NAME_VERSION.tar.").at(1).must(),
        ],
        remote: true,
        process: Some(Impact::Medium),
        output: "ContainerImage",
        example: "Save-ContainerImage -Name nanoserver -Path ./nanoserver.tar",
    },
    Cmdlet {
        name: "Move-ContainerImageRepository",
        synopsis: "Names the directory for images, while there are none.",
        description: "The directory is part of the daemon's data root, which its configuration names; so this cmdlet \
                      always fails, and says what to change.",
        sets: &["All"],
        parameters: &[p("Path", Kind::Text, "The new directory.").at(0).must(), AS_JOB, PASSTHRU],
        remote: true,
        process: Some(Impact::Medium),
        output: "",
        example: "Move-ContainerImageRepository -Path /srv/cofferdam",
    },
];
