//! Signals by name or number, as clients give them.

/// The names, in the kernel's order: the first is signal 1. The numbers are those of x86-64 and arm64.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The kill signal.
pub const KILL: u32 = 9;
/// The polite signal.
pub const TERM: u32 = 15;
const RTMIN: u32 = 34;
const RTMAX: u32 = 64;

/// The number of `SIGTERM`, `term`, `15`, `RTMIN+3`; `None` for anything else.
#[must_use]
pub fn parse(text: &str) -> Option<u32> {
    if let Ok(number) = text.parse::<u32>() {
        return (1..=RTMAX).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(index) = NAMES.iter().position(|known| *known == name) {
        return u32::try_from(index + 1).ok();
    }
    let offset =
        |text: &str, sign: char| text.strip_prefix(sign).and_then(|number| number.parse::<u32>().ok());
    match name {
        "IOT" => Some(6),
        "CLD" => Some(17),
        "POLL" => Some(29),
        "RTMIN" => Some(RTMIN),
        "RTMAX" => Some(RTMAX),
        _ => {
            let number = match name.strip_prefix("RTMIN") {
                Some(rest) => RTMIN.checked_add(offset(rest, '+')?)?,
                None => RTMAX.checked_sub(offset(name.strip_prefix("RTMAX")?, '-')?)?,
            };
            (RTMIN..=RTMAX).contains(&number).then_some(number)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling() {
        for (text, number) in [
            ("9", 9),
            ("KILL", 9),
            ("SIGTERM", 15),
            ("sigusr1", 10),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("CLD", 17),
        ] {
            assert_eq!(parse(text), Some(number), "{text}");
        }
        for bad in ["", "0", "65", "-1", "SIG", "FOO", "RTMIN+31", "RTMAX-40", "RTMIN-1"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
