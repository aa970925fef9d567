//! `docker build` by the stock CLI without BuildKit: instructions, RUN at both levels, the cache, refusals.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use cofferdam_tests::{Case, Test, check, check_eq};

pub const CASES: &[Test] = &[
    Test::both("build::a_dockerfile_becomes_an_image", a_dockerfile_becomes_an_image),
    Test::both("build::what_fails_is_said_and_leaves_nothing", what_fails_is_said_and_leaves_nothing),
];

fn context(case: &Case, files: &[(&str, &str)]) -> Result<PathBuf> {
    let root = case.directory()?.join("context");
    for (name, text) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
        fs::write(path, text)?;
    }
    Ok(root)
}

fn build(case: &Case, args: &[&str], root: &Path) -> Result<cofferdam_tests::Invocation> {
    let (isolation, root) = (case.isolation(), root.to_string_lossy().into_owned());
    let args = [&["build", isolation.as_str()], args, &[root.as_str()]].concat();
    Ok(case.docker(&args)?.env("DOCKER_BUILDKIT", "0"))
}

const DOCKERFILE: &str = r#"ARG BASE=nanoserver
FROM ${BASE} AS first
ARG WHO
ARG HOW=well
ENV GREETING="hello ${WHO:-nobody}"
WORKDIR /made/here
RUN echo "$GREETING, $HOW" >said && rm /etc/group && mkdir /empty
RUN <<EOF
echo one >lines
echo two >>lines
EOF
COPY --chown=7:8 --chmod=640 files/ ./files/
COPY <<EOF /made/text
$GREETING
EOF

FROM nanoserver
LABEL of=case
COPY --from=first /made/ /made/
COPY *.txt /texts/
VOLUME /data
EXPOSE 80
USER 5:6
CMD ["cat", "/made/here/said"]
"#;

/// Stages, arguments, scripts, copies and configuration; then all of it from the cache, until a file changes.
fn a_dockerfile_becomes_an_image(case: &Case) -> Result<()> {
    let name = case.name("image");
    // Both levels share the daemon, and would find each other's steps.
    let level = format!("ENV LEVEL={}\n", case.isolation());
    let dockerfile = DOCKERFILE.replace("ARG WHO", &format!("{level}ARG WHO"));
    let dockerfile = dockerfile.replace("LABEL of", &format!("{level}LABEL of"));
    let files = [
        ("Dockerfile", dockerfile.as_str()),
        (".dockerignore", "secret*\n"),
        ("secret.txt", "no"),
        ("a.txt", "a\n"),
        ("files/deep/b", "b\n"),
    ];
    let root = context(case, &files)?;
    let arguments = ["-t", &name, "--build-arg", "WHO=world", "--label", "more=yes"];
    let said = build(case, &arguments, &root)?.ok()?;
    check!(said.contains("Step 1/"), "{said}");
    check_eq!(said.matches("Running in").count(), 2);
    check!(said.contains(&format!("Successfully tagged {name}:latest")), "{said}");
    let isolation = case.isolation();
    let as_user = |user: &str, words: &[&str]| {
        case.docker(&[&["run", "--rm", &isolation, "-u", user, &name], words].concat())?.ok()
    };
    let run = |words: &[&str]| as_user("5:6", words);
    check_eq!(run(&[])?, "hello world, well");
    let look = "cat /made/here/lines /made/text /made/here/files/deep/b; stat -c '%u:%g %a' /made/here/files/deep/b; \
                ls /texts; ls -d /etc/group";
    check_eq!(as_user("0", &["sh", "-c", look])?, "one\ntwo\nhello world\nb\n7:8 640\na.txt\n/etc/group");
    let shown = "{{.Config.Labels.of}} {{.Config.Labels.more}} {{.Config.User}} {{.Config.ExposedPorts}}";
    let shown = case.docker(&["image", "inspect", "--format", shown, &name])?.ok()?;
    check_eq!(shown, "case yes 5:6 map[80/tcp:{}]");

    let id = || case.docker(&["image", "inspect", "--format", "{{.Id}}", &name])?.ok();
    let first = id()?;
    let again = build(case, &arguments, &root)?.ok()?;
    check!(!again.contains("Running in"), "{again}");
    check_eq!(id()?, first);
    fs::write(root.join("a.txt"), "other\n")?;
    let changed = build(case, &arguments, &root)?.ok()?;
    check!(changed.contains("Using cache") && !changed.contains("Running in"), "{changed}");
    check!(id()? != first, "the copied file is not in the cache's key");
    check_eq!(run(&["cat", "/texts/a.txt"])?, "other");
    case.docker(&["rmi", &name])?.ok()?;
    Ok(())
}

/// A failing command, a file that is not there, a Dockerfile with a mistake; with --force-rm no container stays.
fn what_fails_is_said_and_leaves_nothing(case: &Case) -> Result<()> {
    let root = context(case, &[("Dockerfile", "FROM nanoserver\nRUN echo working && exit 7\n")])?;
    let output = build(case, &["--force-rm"], &root)?.output()?;
    check_eq!(output.code, 7);
    let (said, error) = (output.stdout, output.stderr);
    check!(error.contains("returned a non-zero code: 7") && said.contains("working"), "{said}{error}");
    let ran =
        said.split("Running in ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap_or_default();
    check!(!ran.is_empty(), "{said}");
    let gone = case.docker(&["container", "inspect", ran])?.fails(1)?;
    check!(gone.to_lowercase().contains("no such container"), "{gone}");
    fs::write(root.join("Dockerfile"), "FROM nanoserver\nCOPY nothing /\n")?;
    let said = build(case, &[], &root)?.fails(1)?;
    check!(said.contains("file not found in build context"), "{said}");
    fs::write(root.join("Dockerfile"), "FROM nanoserver\n\nFOO bar\n")?;
    let said = build(case, &[], &root)?.fails(1)?;
    check!(said.contains("line 3: unknown instruction: FOO"), "{said}");
    fs::write(root.join("Dockerfile"), "FROM nanoserver\nRUN --mount=type=cache,target=/x true\n")?;
    let said = build(case, &[], &root)?.fails(1)?;
    check!(said.contains("requires BuildKit"), "{said}");
    Ok(())
}
