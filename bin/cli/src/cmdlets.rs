//! What the cmdlets need of this program: images that are made or pulled.

use cofferdam_client::Client;
use cofferdam_cmdlet::{Engine, Services};

use crate::config::Config;
use crate::image_name;
use crate::install::{self, BuiltIn};
use crate::progress::{self, Sink};
use crate::report;
use crate::session::Session;

/// The cmdlets' engine on a session's daemon.
pub fn engine(session: &Session) -> Engine {
    Engine::new(&session.client, Box::new(Here { config: session.config.clone() }))
}

struct Here {
    config: Config,
}

#[async_trait::async_trait]
impl Services for Here {
    fn built_in(&self) -> Vec<(String, String)> {
        let shown = |image: &BuiltIn| match image {
            BuiltIn::NanoServer => "NanoServer",
            BuiltIn::WindowsServerCore => "WindowsServerCore",
        };
        BuiltIn::ALL.iter().map(|image| (shown(image).to_owned(), image.description().to_owned())).collect()
    }

    async fn install(&self, client: &Client, name: &str) -> Result<(), String> {
        let image = BuiltIn::named(name).ok_or_else(|| format!("no built-in image is called {name:?}"))?;
        let made = async {
            client.ping().await?;
            // Minutes of work for one of them, of which somebody should see something.
            let archive = install::make(image, &|text| eprintln!("{text}"))?;
            let lines = client.load(tokio::fs::File::from_std(archive), true).await?;
            progress::show(lines, Sink::Nowhere).await
        };
        made.await.map(drop).map_err(|error: anyhow::Error| report::sentence(&error))
    }

    async fn pull(&self, client: &Client, image: &str) -> Result<(), String> {
        let pulled = async {
            let auth = self.config.credentials(image_name::registry(image))?;
            let (repository, tag) = image_name::split(image);
            let lines = client.pull(repository, tag, None, auth.as_ref()).await?;
            progress::show(lines, Sink::Nowhere).await
        };
        pulled.await.map(drop).map_err(|error: anyhow::Error| report::sentence(&error))
    }
}
