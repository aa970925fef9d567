//! Access to disks.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use cofferdam_model::Isolation;
use cofferdam_model::resources::{BlockIo, DiskRate, DiskWeight};

use super::{Whose, not_here};
use crate::containers::config::{HostConfig, ThrottleDevice};

const WEIGHTS: std::ops::RangeInclusive<u16> = 10..=1000;

/// Of a new container, or of a change.
pub(super) fn check(
    host: &mut HostConfig,
    whose: &Whose<'_>,
    warnings: &mut Vec<String>,
) -> Result<(), String> {
    let offers = &whose.facts.offers;
    if host.blkio_weight > 0 && !offers.disk_weight {
        warnings.push(not_here("Block I/O weight", "Weight discarded."));
        host.blkio_weight = 0;
    }
    if host.blkio_weight != 0 && !WEIGHTS.contains(&host.blkio_weight) {
        return Err("Range of blkio weight is from 10 to 1000".to_owned());
    }
    if whose.update {
        // Docker changes nothing else.
        return Ok(());
    }
    if let Some(other) = ["IOMaximumBandwidth", "IOMaximumIOps"]
        .iter()
        .find(|key| host.others.get(**key).and_then(serde_json::Value::as_u64).is_some_and(|value| value > 0))
    {
        return Err(format!("Invalid QoS settings: linux does not support {other}"));
    }
    let discarded = |list: &mut Option<Vec<ThrottleDevice>>, what: &str, limit: &str| {
        let asked = list.as_ref().is_some_and(|list| !list.is_empty());
        (asked && !offers.disk_rate).then(|| {
            *list = Some(Vec::new());
            not_here(&format!("{what} limit"), &format!("Block I/O {limit} limit discarded."))
        })
    };
    warnings.extend(discarded(&mut host.blkio_device_read_bps, "BPS Block I/O read", "BPS read"));
    warnings.extend(discarded(&mut host.blkio_device_write_bps, "BPS Block I/O write", "BPS write"));
    warnings.extend(discarded(&mut host.blkio_device_read_iops, "IOPS Block read", "IOPS read"));
    warnings.extend(discarded(&mut host.blkio_device_write_iops, "IOPS Block write", "IOPS write"));
    if host.blkio_weight_device.as_ref().is_some_and(|list| !list.is_empty()) && !offers.disk_weight {
        host.blkio_weight_device = Some(Vec::new());
        warnings.push(not_here("Block I/O weight_device", "Weight-device discarded."));
    }
    for device in host.blkio_weight_device.iter().flatten() {
        if !WEIGHTS.contains(&device.weight) {
            return Err(format!("Range of blkio weight is from 10 to 1000: {}", device.path));
        }
    }
    on_host(host).map(drop)?;
    if whose.isolation == Isolation::Hyperv {
        // What is limited there is the VM's disks, which are files.
        return rates(host).flatten().try_for_each(|device| holds(&device.path, whose.data_root));
    }
    Ok(())
}

fn rates(host: &HostConfig) -> impl Iterator<Item = &Vec<ThrottleDevice>> {
    let lists = [
        &host.blkio_device_read_bps,
        &host.blkio_device_write_bps,
        &host.blkio_device_read_iops,
        &host.blkio_device_write_iops,
    ];
    lists.into_iter().flatten()
}

/// What is asked of disks, with their numbers on this host.
pub fn on_host(host: &HostConfig) -> Result<BlockIo, String> {
    let rates = |list: &Option<Vec<ThrottleDevice>>| {
        let rate = |device: &ThrottleDevice| {
            let (major, minor) = numbers(&device.path)?;
            Ok(DiskRate { major, minor, rate: device.rate })
        };
        list.iter().flatten().map(rate).collect::<Result<Vec<_>, String>>()
    };
    let weights = host.blkio_weight_device.iter().flatten().map(|device| {
        let (major, minor) = numbers(&device.path)?;
        Ok(DiskWeight { major, minor, weight: device.weight })
    });
    Ok(BlockIo {
        weight: Some(host.blkio_weight).filter(|weight| *weight > 0),
        weight_device: weights.collect::<Result<_, String>>()?,
        throttle_read_bps_device: rates(&host.blkio_device_read_bps)?,
        throttle_write_bps_device: rates(&host.blkio_device_write_bps)?,
        throttle_read_iops_device: rates(&host.blkio_device_read_iops)?,
        throttle_write_iops_device: rates(&host.blkio_device_write_iops)?,
    })
}

/// A block device's numbers.
fn numbers(path: &str) -> Result<(u32, u32), String> {
    let found = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("{path}: no such file or directory"),
        _ => format!("{path}: {error}"),
    })?;
    if !found.file_type().is_block_device() {
        return Err(format!("{path} is not a block device"));
    }
    Ok((rustix::fs::major(found.rdev()), rustix::fs::minor(found.rdev())))
}

/// Whether the disk at `path` holds what is in `directory`.
fn holds(path: &str, directory: &Path) -> Result<(), String> {
    let (major, minor) = numbers(path)?;
    let below = std::fs::metadata(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let below = (rustix::fs::major(below.dev()), rustix::fs::minor(below.dev()));
    if cofferdam_sys::disk::lies_on(below, (major, minor)) {
        return Ok(());
    }
    Err(format!(
        "{path} cannot be limited with isolation hyperv: the container's disk is a file in {}, which is not on that \
         device",
        directory.display()
    ))
}
