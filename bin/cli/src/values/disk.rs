//! Limits of single disks: `--device-read-bps`, `--blkio-weight-device` and the like.

use cofferdam_client::models::{ResourcesBlkioWeightDevice, ThrottleDevice};

use super::bytes;

/// `/dev/sda:1mb`
pub fn bytes_of_disk(text: &str) -> Result<ThrottleDevice, String> {
    let (path, rate) = disk(text, "number[unit]")?;
    Ok(ThrottleDevice { path: Some(path), rate: Some(bytes(rate)?) })
}

/// `/dev/sda:1000`
pub fn accesses_of_disk(text: &str) -> Result<ThrottleDevice, String> {
    let (path, rate) = disk(text, "number")?;
    let rate = rate.parse::<u32>().map_err(|error| format!("invalid rate {rate:?} for {path}: {error}"))?;
    Ok(ThrottleDevice { path: Some(path), rate: Some(rate.into()) })
}

/// `/dev/sda:500`
pub fn weight_of_disk(text: &str) -> Result<ResourcesBlkioWeightDevice, String> {
    let (path, weight) = disk(text, "weight")?;
    let known = weight.parse::<usize>().ok().filter(|weight| *weight == 0 || (10..=1000).contains(weight));
    let weight = known.ok_or_else(|| format!("invalid weight {weight:?} for {path}: want 10 to 1000"))?;
    Ok(ResourcesBlkioWeightDevice { path: Some(path), weight: Some(weight) })
}

fn disk<'a>(text: &'a str, value: &str) -> Result<(String, &'a str), String> {
    match text.split_once(':') {
        Some((path, value)) if path.starts_with("/dev/") => Ok((path.to_owned(), value)),
        Some((path, _)) => Err(format!("bad format for device path: {path}: want one in /dev")),
        None => Err(format!("bad format: {text}: want device-path:{value}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_and_their_limits() {
        let rate = bytes_of_disk("/dev/sda:1mb").unwrap();
        assert_eq!((rate.path.as_deref(), rate.rate), (Some("/dev/sda"), Some(1 << 20)));
        assert_eq!(accesses_of_disk("/dev/sda:50").unwrap().rate, Some(50));
        assert_eq!(weight_of_disk("/dev/sda:500").unwrap().weight, Some(500));
        for bad in ["/dev/sda", "sda:1", "/dev/sda:x", "/dev/sda:-1", ""] {
            let refused =
                [bytes_of_disk(bad).is_err(), accesses_of_disk(bad).is_err(), weight_of_disk(bad).is_err()];
            assert_eq!(refused, [true; 3], "{bad}");
        }
        assert!(weight_of_disk("/dev/sda:5").is_err());
    }
}
