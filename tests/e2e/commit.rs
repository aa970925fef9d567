//! `commit`: a container's changes as an image, running or not, by both CLIs.

use anyhow::Result;
use cofferdam_tests::{Case, Test, check, check_eq};

pub const CASES: &[Test] = &[
    Test::both("commit::what_was_changed_is_an_image", what_was_changed_is_an_image),
    Test::both("commit::options_and_refusals", options_and_refusals),
];

/// What is new, changed and gone, with owners, links and times; of a container that runs, that has ended, and of the image
/// that was made.
fn what_was_changed_is_an_image(case: &Case) -> Result<()> {
    let (isolation, first, second) = (case.isolation(), case.name("first"), case.name("second"));
    let name = case.detached("a", &["-e", "KEPT=1", "-v", "/data", "nanoserver", "sleep", "1000"])?;
    case.shell(
        &name,
        "rm /etc/group; rm -r /root; mkdir /root; echo own >/root/own; mkdir -p /srv/deep; echo x >/srv/deep/file; \
         chown 7:8 /srv/deep/file; chmod 4751 /srv/deep/file; ln /srv/deep/file /srv/link; ln -s deep /srv/soft; \
         mknod /srv/pipe p; touch -d @1234567890 /srv/deep/file; echo volume >/data/file; echo y >>/etc/passwd",
    )?;
    let id = case.docker(&["commit", "-a", "me", "-m", "why", &name, &first])?.ok()?;
    check!(id.starts_with("sha256:"), "{id}");
    check_eq!(case.inspect(&name)?["State"]["Status"], "running");
    let look = "ls /etc/group 2>/dev/null; ls -A /root; stat -c '%u:%g %a %h %Y' /srv/deep/file; cat /srv/link; \
                readlink /srv/soft; test -p /srv/pipe && echo pipe; tail -n 1 /etc/passwd; echo $KEPT; ls /data";
    let wanted = "own\n7:8 4751 2 1234567890\nx\ndeep\npipe\ny\n1";
    let run = |image: &str| case.docker(&["run", "--rm", &isolation, image, "sh", "-c", look])?.ok();
    check_eq!(run(&first)?, wanted);

    case.docker(&["stop", "-t", "0", &name])?.ok()?;
    let ours = case.cofferdam(&["commit", &name, &format!("{second}:tag")])?.ok()?;
    check!(ours.starts_with("sha256:"), "{ours}");
    check_eq!(run(&format!("{second}:tag"))?, wanted);

    // And on top of the image that was made.
    let on = case.name("on");
    let args = ["run", "--name", &on, &isolation, &first, "sh", "-c", "rm /srv/link; mkdir /srv/new"];
    case.docker(&args)?.ok()?;
    let third = case.docker(&["commit", &on])?.ok()?;
    let look = "ls /srv; stat -c %a /srv/deep/file";
    check_eq!(
        case.docker(&["run", "--rm", &isolation, &third, "sh", "-c", look])?.ok()?,
        "deep\nnew\npipe\nsoft\n4751"
    );
    let history =
        case.docker(&["history", "--format", "{{.Comment}}|{{.CreatedBy}}", "--no-trunc", &first])?.ok()?;
    check_eq!(history.lines().next(), Some("why|sleep 1000"));
    let image = case.docker(&["image", "inspect", "--format", "{{.Author}}", &first])?.ok()?;
    check_eq!(image, "me");
    let events = case.daemon()?.events_of(&name)?;
    check_eq!(events.iter().filter(|event| event.as_str() == "commit").count(), 2);
    case.docker(&["rm", "-v", &name, &on])?.ok()?;
    case.docker(&["rmi", &third, &first, &format!("{second}:tag")])?.ok()?;
    Ok(())
}

/// Instructions change the configuration; a paused container and one that never ran can be committed, too.
fn options_and_refusals(case: &Case) -> Result<()> {
    let (isolation, image) = (case.isolation(), case.name("image"));
    let name = case.detached("a", &["nanoserver", "sleep", "1000"])?;
    case.shell(&name, "echo paused >/file")?;
    case.docker(&["pause", &name])?.ok()?;
    let changes = [
        "-c",
        "ENV A=1 B=two",
        "-c",
        "WORKDIR /srv",
        "-c",
        "CMD [\"sh\", \"-c\", \"pwd; echo $B; cat /file\"]",
    ];
    case.docker(&[&["commit"][..], &changes, &[&name, &image]].concat())?.ok()?;
    check_eq!(case.inspect(&name)?["State"]["Status"], "paused");
    case.docker(&["unpause", &name])?.ok()?;
    check_eq!(case.docker(&["run", "--rm", &isolation, &image])?.ok()?, "/srv\ntwo\npaused");

    let fresh = case.name("fresh");
    case.docker(&["create", "--name", &fresh, &isolation, "nanoserver", "true"])?.ok()?;
    case.cofferdam(&["commit", "--pause=false", "-c", "LABEL k=v", &fresh, &image])?.ok()?;
    case.docker(&["run", "--rm", &isolation, &image])?.ok()?;
    check_eq!(case.docker(&["image", "inspect", "-f", "{{.Config.Labels.k}}", &image])?.ok()?, "v");

    let error = case.docker(&["commit", "no-such-container"])?.fails(1)?;
    check!(error.contains("No such container: no-such-container"), "{error}");
    let error = case.docker(&["commit", "-c", "FROM x", &name])?.fails(1)?;
    check!(error.contains("from is not a valid change command"), "{error}");
    let error = case.docker(&["commit", &name, "UPPER//bad"])?.fails(1)?;
    check!(error.contains("invalid reference format"), "{error}");
    check_eq!(case.inspect(&name)?["State"]["Status"], "running");
    case.docker(&["rm", "-f", &name, &fresh])?.ok()?;
    case.docker(&["rmi", &image])?.ok()?;
    case.docker(&["image", "prune", "-f"])?.ok()?;
    Ok(())
}
