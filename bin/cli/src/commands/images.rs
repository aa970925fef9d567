//! `images`

use clap::Args;
use cofferdam_client::Filters;
use cofferdam_client::models::ImageSummary;

use super::Outcome;
use crate::image_name;
use crate::output::{self, Listing, Row, ago, human_size, local};
use crate::session::Session;
use crate::values;

/// Arguments of `images`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Show all images (default hides intermediate images)
    #[arg(short, long)]
    all: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<values::Filter>,
    /// Format output: table, table TEMPLATE, json, or a Go template
    #[arg(long)]
    format: Option<String>,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only show image IDs
    #[arg(short, long)]
    quiet: bool,
    /// Only images of this name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    reference: Option<String>,
}

const LISTING: Listing = Listing {
    titles: &[
        ("ID", "IMAGE ID"),
        ("Repository", "REPOSITORY"),
        ("Tag", "TAG"),
        ("Digest", "DIGEST"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("Size", "SIZE"),
        ("VirtualSize", "SIZE"),
        ("Containers", "CONTAINERS"),
        ("SharedSize", "SHARED SIZE"),
        ("UniqueSize", "UNIQUE SIZE"),
    ],
    table: "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
    quiet: "{{.ID}}",
};

const WITH_DIGESTS: Listing = Listing {
    table: "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
    ..LISTING
};

impl Arguments {
    /// Lists images.
    pub async fn run(&self, session: &Session) -> Outcome {
        let mut filters: Filters = values::filters(&self.filter);
        if let Some(reference) = &self.reference {
            filters.add("reference", &image_name::canonical(reference));
        }
        let format = match (&self.format, self.quiet) {
            (Some(format), _) => format.as_str(),
            (None, true) => "",
            (None, false) => session.config.images_format.as_str(),
        };
        let with_digests = self.digests || format.contains(".Digest");
        let mut images = session.client.list_images(self.all, with_digests, &filters).await?;
        images.sort_by_key(|image| std::cmp::Reverse(image.created));
        let rows = images.iter().flat_map(|image| {
            let names = names(image, with_digests).into_iter();
            names.map(|name| row(image, name, !self.no_trunc))
        });
        let listing = if self.digests { WITH_DIGESTS } else { LISTING };
        output::print(&listing.render(format, self.quiet, rows.collect())?)?;
        Ok(0)
    }
}

/// Repository, tag and digest of one line.
struct Name {
    repository: String,
    tag: String,
    digest: String,
}

const NONE: &str = "<none>";

fn names(image: &ImageSummary, with_digests: bool) -> Vec<Name> {
    let real = |names: &[String]| -> Vec<String> {
        names.iter().filter(|name| !name.contains(NONE)).cloned().collect()
    };
    let (tags, digests) = (real(&image.repo_tags), real(&image.repo_digests));
    let digest_of = |repository: &str| {
        let found =
            digests.iter().find_map(|name| name.split_once('@').filter(|(name, _)| *name == repository));
        found.map_or(NONE, |(_, digest)| digest).to_owned()
    };
    let mut names: Vec<Name> = Vec::new();
    for reference in &tags {
        let (repository, tag) = image_name::split(reference);
        let digest = if with_digests { digest_of(repository) } else { NONE.to_owned() };
        names.push(Name { repository: repository.to_owned(), tag: tag.to_owned(), digest });
    }
    // What was pulled by digest alone has no tag.
    for reference in &digests {
        let Some((repository, digest)) = reference.split_once('@') else { continue };
        if !tags.iter().any(|tag| image_name::split(tag).0 == repository) {
            names.push(Name {
                repository: repository.to_owned(),
                tag: NONE.to_owned(),
                digest: digest.to_owned(),
            });
        }
    }
    if names.is_empty() {
        names.push(Name { repository: NONE.to_owned(), tag: NONE.to_owned(), digest: NONE.to_owned() });
    }
    names
}

fn row(image: &ImageSummary, name: Name, truncate: bool) -> Row {
    let id = match truncate {
        true => image.id.strip_prefix("sha256:").unwrap_or(&image.id).chars().take(12).collect(),
        false => image.id.clone(),
    };
    let unknown = |count: i64| if count < 0 { "N/A".to_owned() } else { count.to_string() };
    let shared =
        if image.shared_size < 0 { "N/A".to_owned() } else { human_size(image.shared_size as f64, 3) };
    let unique = match image.shared_size {
        ..0 => "N/A".to_owned(),
        shared => human_size(image.size.saturating_sub(shared) as f64, 3),
    };
    Row::default()
        .with("ID", id)
        .with("Repository", name.repository)
        .with("Tag", name.tag)
        .with("Digest", name.digest)
        .with("CreatedSince", since(image.created))
        .with("CreatedAt", local(image.created))
        .with("Size", human_size(image.size as f64, 3))
        // Its name before API 1.44; templates still use it.
        .with("VirtualSize", human_size(image.size as f64, 3))
        .with("Containers", unknown(image.containers))
        .with("SharedSize", shared)
        .with("UniqueSize", unique)
}

/// Reproducible images have no time of creation.
fn since(created: i64) -> String {
    if created <= 0 { "N/A".to_owned() } else { ago(created) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_for_each_name() {
        let image = ImageSummary {
            id: format!("sha256:{}", "ab".repeat(32)),
            repo_tags: vec!["nanoserver:latest".into(), "localhost:5000/nano:1".into()],
            repo_digests: vec![format!("localhost:5000/nano@sha256:{}", "c".repeat(64))],
            created: jiff::Timestamp::now().as_second() - 86400 * 3,
            size: 4_415_894,
            shared_size: -1,
            containers: -1,
            ..ImageSummary::default()
        };
        let rows = names(&image, false).into_iter().map(|name| row(&image, name, true)).collect();
        let want = "REPOSITORY            TAG       IMAGE ID       CREATED      SIZE\n\
                    nanoserver            latest    abababababab   3 days ago   4.42MB\n\
                    localhost:5000/nano   1         abababababab   3 days ago   4.42MB\n";
        assert_eq!(LISTING.render("", false, rows).unwrap(), want);
        let dangling = ImageSummary { id: image.id.clone(), ..ImageSummary::default() };
        let rows = names(&dangling, false).into_iter().map(|name| row(&dangling, name, true)).collect();
        let want = "REPOSITORY   TAG       IMAGE ID       CREATED   SIZE\n<none>       <none>    abababababab   N/A       0B\n";
        assert_eq!(LISTING.render("", false, rows).unwrap(), want);
    }
}
