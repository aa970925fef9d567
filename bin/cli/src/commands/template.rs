//! `template ls`, `rm`, `build`: saved VMs that hyperv containers' VMs are cloned from.

use clap::Args;
use cofferdam_client::api::TemplateSummary;

use super::Outcome;
use super::each::each;
use crate::output::{self, Listing, Row, ago, human_size, memory_size};
use crate::progress::{self, Sink};
use crate::session::Session;
use crate::values;

/// Arguments of `template ls`.
#[derive(Debug, Args)]
pub struct List {
    /// Format output: table, table TEMPLATE, json, or a Go template
    #[arg(long)]
    format: Option<String>,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only show keys
    #[arg(short, long)]
    quiet: bool,
}

/// Arguments of `template rm`.
#[derive(Debug, Args)]
pub struct Remove {
    /// Keys, or the beginnings of keys
    #[arg(required = true)]
    keys: Vec<String>,
}

/// Arguments of `template build`.
#[derive(Debug, Args)]
pub struct Build {
    /// For containers with this memory limit [default: no limit]
    #[arg(short, long, value_name = "BYTES", value_parser = values::bytes)]
    memory: Option<i64>,
    /// For containers with so many CPUs [default: no limit]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    cpus: Option<u32>,
}

const LISTING: Listing = Listing {
    titles: &[
        ("Key", "KEY"),
        ("Kind", "KIND"),
        ("Image", "IMAGE"),
        ("Status", "STATUS"),
        ("Kernel", "KERNEL"),
        ("Hypervisor", "HYPERVISOR"),
        ("Accelerator", "ACCELERATOR"),
        ("CPUs", "CPUS"),
        ("Memory", "MEMORY"),
        ("Size", "SIZE"),
        ("CreatedSince", "CREATED"),
        ("LastUsed", "LAST USED"),
    ],
    table: "{{.Key}}\t{{.Kind}}\t{{.Image}}\t{{.Status}}\t{{.CPUs}}\t{{.Memory}}\t{{.Size}}\t{{.LastUsed}}",
    quiet: "{{.Key}}",
};

impl List {
    /// Shows the templates.
    pub async fn run(&self, session: &Session) -> Outcome {
        let templates = session.client.list_templates().await?;
        let rows = templates.iter().map(|template| self.row(template)).collect();
        output::print(&LISTING.render(self.format.as_deref().unwrap_or_default(), self.quiet, rows)?)?;
        Ok(0)
    }

    fn row(&self, template: &TemplateSummary) -> Row {
        let short = |text: &str| -> String {
            let text = text.strip_prefix("sha256:").unwrap_or(text);
            if self.no_trunc { text.to_owned() } else { text.chars().take(12).collect() }
        };
        let ready = template.status == "ready";
        let kind = match (ready, template.image.is_empty()) {
            (false, _) => "",
            (true, true) => "base",
            (true, false) => "image",
        };
        let if_ready = |text: String| if ready { text } else { String::new() };
        Row::default()
            .with("Key", short(&template.key))
            .with("Kind", kind)
            .with("Image", short(&template.image))
            .with("Status", template.status.clone())
            .with("Kernel", template.kernel.clone())
            .with("Hypervisor", template.hypervisor.clone())
            .with("Accelerator", template.accelerator.clone())
            .with("CPUs", if_ready(template.cpus.to_string()))
            .with("Memory", if_ready(memory_size(template.memory as f64)))
            .with("Size", if_ready(human_size(template.size as f64, 3)))
            .with("CreatedSince", if_ready(ago(template.created)))
            .with("LastUsed", if_ready(ago(template.last_used)))
    }
}

impl Remove {
    /// Removes templates.
    pub async fn run(&self, session: &Session) -> Outcome {
        let remove = async |key: &str| {
            session.client.remove_template(key).await?;
            Ok(Some(key.to_owned()))
        };
        each(&self.keys, remove).await
    }
}

impl Build {
    /// Makes the template for a class of containers, or finds that it is there.
    pub async fn run(&self, session: &Session) -> Outcome {
        let lines = session.client.build_template(self.memory, self.cpus).await?;
        progress::show(lines, Sink::Stdout).await?;
        Ok(0)
    }
}
