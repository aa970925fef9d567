//! The image store by hand: `store ROOT load FILE | pull NAME | erofs NAME | rmi NAME | images`.

use std::time::Instant;

use cofferdam_image::{ImageStore, Progress, ProgressSender, PullRequest};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [root, verb, rest @ ..] = words.as_slice() else {
        return Err("usage: store ROOT VERB [NAME]".into());
    };
    let store = ImageStore::open(root.as_ref())?;
    let (sender, mut progress) = tokio::sync::mpsc::unbounded_channel::<Progress>();
    let printer = tokio::spawn(async move {
        while let Some(line) = progress.recv().await {
            println!("{}", line.to_json());
        }
    });
    let progress = ProgressSender::new(sender);
    let start = Instant::now();
    match (*verb, rest) {
        ("load", [file]) => drop(store.load(tokio::fs::File::open(file).await?, &progress).await?),
        ("pull", [name]) => drop(store.pull(PullRequest::new(name.parse()?), &progress).await?),
        ("erofs", [name]) => println!("{}", store.erofs(&store.resolve(name)?).await?.display()),
        ("rmi", [name]) => println!("{:?}", store.remove(name, false, |_| Vec::new()).await?),
        ("images", []) => {
            for image in store.list() {
                println!("{} {:?} {}", image.id().short(), image.repo_tags(), image.size());
            }
        }
        _ => return Err("unknown verb".into()),
    }
    drop(progress);
    printer.await?;
    eprintln!("{:?}", start.elapsed());
    Ok(())
}
