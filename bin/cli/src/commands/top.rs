//! `top`

use clap::Args;

use super::Outcome;
use crate::output;
use crate::session::Session;

/// Arguments of `top`.
#[derive(Debug, Args)]
#[command(override_usage = "cofferdam top CONTAINER [PS OPTIONS]")]
pub struct Arguments {
    /// The container, and options of ps
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = false,
        value_name = "CONTAINER [PS OPTIONS]"
    )]
    container_and_options: Vec<String>,
}

impl Arguments {
    /// Shows a container's processes.
    pub async fn run(&self, session: &Session) -> Outcome {
        let (container, options) =
            self.container_and_options.split_first().ok_or_else(|| anyhow::anyhow!("missing container"))?;
        let top = session.client.top(container, &options.join(" ")).await?;
        let mut text = top.titles.unwrap_or_default().join("\t");
        for process in top.processes.unwrap_or_default() {
            text.push('\n');
            text.push_str(&process.join("\t"));
        }
        output::print(&output::align(&text, 20))?;
        Ok(0)
    }
}
