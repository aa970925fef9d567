//! `history`

use clap::Args;
use cofferdam_client::models::ImageHistoryResponseItem;

use super::Outcome;
use crate::image_name::canonical;
use crate::output::{self, Listing, Row, ago, ellipsis, human_size, local};
use crate::session::Session;

/// Arguments of `history`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Format output: table, table TEMPLATE, json, or a Go template
    #[arg(long)]
    format: Option<String>,
    /// Print sizes and dates in human readable format [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true",
        default_missing_value = "true", action = clap::ArgAction::Set, hide_default_value = true, hide_possible_values = true)]
    human: bool,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only show image IDs
    #[arg(short, long)]
    quiet: bool,
    image: String,
}

const LISTING: Listing = Listing {
    titles: &[
        ("ID", "IMAGE"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedBy", "CREATED BY"),
        ("Size", "SIZE"),
        ("Comment", "COMMENT"),
    ],
    table: "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
    quiet: "{{.ID}}",
};

const EXACT: Listing =
    Listing { table: "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}", ..LISTING };

impl Arguments {
    /// Shows how an image came to be.
    pub async fn run(&self, session: &Session) -> Outcome {
        let history = session.client.image_history(&canonical(&self.image)).await?;
        let rows = history.iter().map(|step| self.row(step)).collect();
        let listing = if self.human { LISTING } else { EXACT };
        output::print(&listing.render(self.format.as_deref().unwrap_or_default(), self.quiet, rows)?)?;
        Ok(0)
    }

    fn row(&self, step: &ImageHistoryResponseItem) -> Row {
        let by = step.created_by.replace('\t', " ");
        let id = step.id.strip_prefix("sha256:").unwrap_or(&step.id);
        Row::default()
            .with("ID", if self.no_trunc { step.id.clone() } else { ellipsis_free(id, 12) })
            .with("CreatedSince", if step.created <= 0 { "N/A".to_owned() } else { ago(step.created) })
            .with("CreatedAt", local(step.created))
            .with("CreatedBy", if self.no_trunc { by } else { ellipsis(&by, 45) })
            .with("Size", if self.human { human_size(step.size as f64, 3) } else { step.size.to_string() })
            .with("Comment", step.comment.clone())
    }
}

fn ellipsis_free(text: &str, longest: usize) -> String {
    text.chars().take(longest).collect()
}
