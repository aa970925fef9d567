//! An image as one EROFS file, for utility VMs: `erofs/<image ID>.erofs`, built once.
//!
//! The merged view is an overlay of the layers that exists only in the mount namespace of the `mkfs.erofs` process:
//! nothing is mounted on the host, and the kernel takes it away with the process. Owners, modes, xattrs, hard links,
//! device nodes and times to the nanosecond come through; whiteouts are applied.
//!
//! The same layers give the same bytes: the UUID is derived from the image ID and `SOURCE_DATE_EPOCH` fixes the build
//! time. It lies in the far future, because mkfs.erofs also clamps every file's time to it.
//! Files are stored uncompressed: a guest under emulation decompresses slower than its disk reads. Images with sparse
//! files are stored in chunks, the one layout in which erofs-utils 1.5 keeps holes.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::error::IoContext;
use crate::leases::Item;
use crate::store::blocking;
use crate::{Digest, Error, Image, ImageStore};

const MKFS: &str = "mkfs.erofs";
/// The last second of the year 9999.
const FAR_FUTURE: &str = "253402300799";

impl ImageStore {
    /// The image's EROFS file; made when it is asked for the first time. Concurrent callers wait for the one maker.
    pub async fn erofs(&self, image: &Image) -> Result<PathBuf, Error> {
        let path = self.erofs_path(image.id());
        let lease = self.lease_all(&image.stored);
        if path.exists() {
            return Ok(path);
        }
        let _making = self.shared.leases.exclusive(&Item::Erofs(image.id().clone())).await;
        if path.exists() {
            return Ok(path);
        }
        // An overlay without a writable directory needs two layers; an empty one below changes nothing.
        let mut view = self.lower_dirs(image).await?;
        view.push(self.shared.root.join("empty-below"));
        let (store, image) = (self.clone(), image.clone());
        blocking("building an EROFS image", move || {
            let _lease = lease;
            store.build(&image, &view)?;
            Ok(path)
        })
        .await
    }

    fn build(&self, image: &Image, view: &[PathBuf]) -> Result<(), Error> {
        let directory = tempfile::TempDir::new_in(&self.shared.temporary).at(&self.shared.temporary)?;
        let (output, mount) = (directory.path().join("image"), directory.path().join("view"));
        fs::create_dir(&mount).at(&mount)?;
        let mut command = Command::new(MKFS);
        command.args(["--quiet", "-U"]).arg(uuid(image.id()));
        let sparse = image
            .stored
            .chain
            .iter()
            .any(|layer| self.shared.layers.info(layer).is_ok_and(|info| info.sparse));
        if sparse {
            command.arg("--chunksize=65536");
        }
        command.arg(&output).arg(&mount).env("SOURCE_DATE_EPOCH", FAR_FUTURE);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        cofferdam_sys::overlay_view::overlay_for_child(&mut command, view, &mount).at(&mount)?;
        let result = command.output().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::MissingTool { program: MKFS, package: "erofs-utils" },
            _ => Error::Tool { program: MKFS, status: "not started".into(), stderr: error.to_string() },
        })?;
        if !result.status.success() {
            let words = String::from_utf8_lossy(&result.stderr).trim().to_owned();
            if words.contains("No space left on device") {
                return Err(Error::NoSpace(self.shared.root.clone()));
            }
            let tail =
                words.char_indices().rev().nth(999).map_or(words.as_str(), |(start, _)| &words[start..]);
            return Err(Error::Tool {
                program: MKFS,
                status: result.status.to_string(),
                stderr: tail.to_owned(),
            });
        }
        let path = self.erofs_path(image.id());
        fs::rename(&output, &path).at(&path)
    }

    pub(crate) fn erofs_path(&self, id: &Digest) -> PathBuf {
        self.shared.root.join("erofs").join(id.hex() + ".erofs")
    }

    pub(crate) fn erofs_list(&self) -> Vec<Digest> {
        let Ok(entries) = fs::read_dir(self.shared.root.join("erofs")) else { return Vec::new() };
        let id = |entry: fs::DirEntry| {
            let name = entry.file_name();
            format!("sha256:{}", name.to_str()?.strip_suffix(".erofs")?).parse().ok()
        };
        entries.filter_map(|entry| id(entry.ok()?)).collect()
    }
}

/// A UUID made of the ID's first digits.
fn uuid(id: &Digest) -> String {
    let hex = id.hex();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..32])
}
