//! `inspect`, for containers, images, networks and volumes.

use clap::{Args, ValueEnum};
use cofferdam_client::ClientError;

use super::Outcome;
use crate::image_name;
use crate::output;
use crate::report::{self, AlreadyReported};
use crate::session::Session;
use cofferdam_template::{Functions, Template};

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A network.
    Network,
    /// A volume.
    Volume,
}

/// Arguments of `inspect`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Format output: json, or a Go template
    #[arg(short, long)]
    format: Option<String>,
    /// Display total file sizes if the type is container
    #[arg(short, long)]
    size: bool,
    /// Only inspect objects of the given type
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<Kind>,
    #[arg(required = true, value_name = "NAME|ID")]
    names: Vec<String>,
}

/// Arguments of `container inspect`.
#[derive(Debug, Args)]
pub struct ContainerArguments {
    /// Format output: json, or a Go template
    #[arg(short, long)]
    format: Option<String>,
    /// Display total file sizes
    #[arg(short, long)]
    size: bool,
    #[arg(required = true, value_name = "CONTAINER")]
    names: Vec<String>,
}

/// Arguments of `network inspect`.
#[derive(Debug, Args)]
pub struct NetworkArguments {
    /// Format output: json, or a Go template
    #[arg(short, long)]
    format: Option<String>,
    #[arg(required = true, value_name = "NETWORK")]
    names: Vec<String>,
}

impl NetworkArguments {
    /// Shows everything about networks.
    pub async fn run(&self, session: &Session) -> Outcome {
        inspect(session, &self.names, self.format.as_deref(), false, Some(Kind::Network)).await
    }
}

/// Arguments of `image inspect`.
#[derive(Debug, Args)]
pub struct ImageArguments {
    /// Format output: json, or a Go template
    #[arg(short, long)]
    format: Option<String>,
    /// Inspect a specific platform of the image
    #[arg(long, hide = true)]
    platform: Option<String>,
    #[arg(required = true, value_name = "IMAGE")]
    names: Vec<String>,
}

/// Arguments of `volume inspect`.
#[derive(Debug, Args)]
pub struct VolumeArguments {
    /// Format output: json, or a Go template
    #[arg(short, long)]
    format: Option<String>,
    #[arg(required = true, value_name = "VOLUME")]
    names: Vec<String>,
}

impl VolumeArguments {
    /// Shows everything about volumes.
    pub async fn run(&self, session: &Session) -> Outcome {
        inspect(session, &self.names, self.format.as_deref(), false, Some(Kind::Volume)).await
    }
}

impl Arguments {
    /// Shows everything about objects of any kind.
    pub async fn run(&self, session: &Session) -> Outcome {
        inspect(session, &self.names, self.format.as_deref(), self.size, self.kind).await
    }
}

impl ContainerArguments {
    /// Shows everything about containers.
    pub async fn run(&self, session: &Session) -> Outcome {
        inspect(session, &self.names, self.format.as_deref(), self.size, Some(Kind::Container)).await
    }
}

impl ImageArguments {
    /// Shows everything about images.
    pub async fn run(&self, session: &Session) -> Outcome {
        inspect(session, &self.names, self.format.as_deref(), false, Some(Kind::Image)).await
    }
}

async fn inspect(
    session: &Session,
    names: &[String],
    format: Option<&str>,
    size: bool,
    kind: Option<Kind>,
) -> Outcome {
    let format = format.filter(|format| !format.is_empty());
    // A broken template is no reason to ask the daemon.
    let template = match format {
        None | Some("json") => None,
        Some(text) => Some(Template::parse(&text.replace("\\t", "\t").replace("\\n", "\n"))?),
    };
    let (mut found, mut shown, mut failed) = (Vec::new(), String::new(), false);
    for name in names {
        let result = async {
            let raw = object(session, name, size, kind).await?;
            if let Some(template) = &template {
                shown += &template.render(&serde_json::from_str(&raw)?, Functions::Values)?;
                shown.push('\n');
            }
            found.push(raw);
            anyhow::Ok(())
        };
        if let Err(error) = result.await {
            report::say(&error);
            failed = true;
        }
    }
    match (format, found.is_empty()) {
        (None, true) => output::line("[]")?,
        (None, false) => output::line(output::indent(&format!("[{}]", found.join(",")), 0))?,
        (Some("json"), _) => output::line(format!("[{}]", found.join(",")))?,
        (Some(_), _) => output::print(&shown)?,
    }
    if failed { Err(AlreadyReported.into()) } else { Ok(0) }
}

/// The first kind that knows the name, as JSON.
async fn object(session: &Session, name: &str, size: bool, kind: Option<Kind>) -> anyhow::Result<String> {
    let client = &session.client;
    let wanted = |this: Kind| kind.is_none_or(|kind| kind == this);
    let mut missing = None;
    if wanted(Kind::Container) {
        match client.inspect_container(name, size).await {
            Ok(document) => return Ok(document.raw),
            Err(error) => missing = Some(only_missing(error)?),
        }
    }
    if wanted(Kind::Image) {
        match client.inspect_image(&image_name::canonical(name)).await {
            Ok(document) => return Ok(document.raw),
            Err(error) => missing = Some(only_missing(error)?),
        }
    }
    if wanted(Kind::Network) {
        match client.inspect_network(name).await {
            Ok(document) => return Ok(document.raw),
            Err(error) => missing = Some(only_missing(error)?),
        }
    }
    if wanted(Kind::Volume) {
        match client.inspect_volume(name).await {
            Ok(document) => return Ok(document.raw),
            Err(error) => missing = Some(only_missing(error)?),
        }
    }
    match (kind, missing) {
        (Some(_), Some(error)) => Err(error.into()),
        _ => anyhow::bail!("no such object: {name}"),
    }
}

/// Any other failure is not the name's.
fn only_missing(error: ClientError) -> Result<ClientError, ClientError> {
    // A name that cannot be an image's is not one.
    if error.is_not_found() || error.status() == Some(400) { Ok(error) } else { Err(error) }
}
