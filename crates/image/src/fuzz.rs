//! Entry points for fuzzing: any bytes may be given, nothing may panic, and nothing may be written elsewhere.

use std::path::Path;

use crate::config::ImageConfig;
use crate::index::Catalog;
use crate::manifest::{Document, Platform};
use crate::{ImageStore, ProgressSender, Reference};

/// Parses an image name; what parses must survive a round trip.
pub fn fuzz_reference(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string().parse(), Ok(reference.clone()), "whole form of {text:?}");
        assert_eq!(reference.familiar().parse(), Ok(reference), "familiar form of {text:?}");
    }
    let _any = Reference::parse_any_case(text);
}

/// Unpacks a layer into `scratch/inside`; `scratch` holds nothing else before and must hold nothing else after.
pub fn fuzz_unpack(data: &[u8], scratch: &Path) {
    let inside = scratch.join("inside");
    std::fs::create_dir(&inside).expect("the scratch directory is writable and empty");
    let _result = crate::unpack::unpack(data, &inside, &|| false);
    let left = std::fs::read_dir(scratch).expect("the scratch directory is readable").count();
    assert_eq!(left, 1, "something was written outside");
}

/// Loads an archive into a store below `scratch`; a failure must leave no image and no blob.
pub fn fuzz_load(data: &[u8], scratch: &Path) {
    let store = ImageStore::open(&scratch.join("images")).expect("the scratch directory is writable");
    let runtime =
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime without I/O always builds");
    let archive = std::io::Cursor::new(data.to_vec());
    if runtime.block_on(store.load(archive, &ProgressSender::none())).is_err() {
        let Catalog { images, .. } = store.catalog();
        assert!(!images.is_empty() || store.shared.blobs.list().is_empty(), "blobs were left behind");
    }
}

/// Parses the JSON documents that come from elsewhere.
pub fn fuzz_documents(data: &[u8]) {
    let _config = ImageConfig::parse(data);
    if let Ok(Document::Index(index)) = Document::parse(data) {
        let _chosen = index.select(&Platform::host());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tempfile::TempDir;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn any_archive_is_survived(
            files in proptest::collection::vec(
                ("manifest.json|index.json|c|l/layer|blobs/sha256/[0a]{64}|\\.\\./x", "[\\[\\]{}\":,a-zA-Z0-9]{0,120}"), 0..6),
        ) {
            let mut archive = tar::Builder::new(Vec::new());
            for (name, data) in &files {
                let mut header = tar::Header::new_gnu();
                header.set_size(data.len() as u64);
                header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
                header.set_cksum();
                archive.append(&header, data.as_bytes()).unwrap();
            }
            super::fuzz_load(&archive.into_inner().unwrap(), TempDir::new().unwrap().path());
        }

        #[test]
        fn any_document_is_survived(text in "\\{(\"(schemaVersion|config|layers|manifests|rootfs|diff_ids|type)\":(2|null|\\[\\]|\\{\\}|\"layers\"),?){0,5}\\}") {
            super::fuzz_documents(text.as_bytes());
        }

        #[test]
        fn any_bytes_are_survived(data in proptest::collection::vec(any::<u8>(), 0..1024)) {
            super::fuzz_documents(&data);
            super::fuzz_load(&data, TempDir::new().unwrap().path());
        }
    }
}
