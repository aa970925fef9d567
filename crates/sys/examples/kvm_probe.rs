//! `cargo run -p cofferdam-sys --example kvm_probe`: what the KVM probe says of this host, and how long it took.
//! Started again as its own child, it is the process that may hang.

use std::process::Command;
use std::time::{Duration, Instant};

use cofferdam_sys::kvm;

fn main() -> std::io::Result<()> {
    if std::env::args().nth(1).as_deref() == Some("guest-loop") {
        return kvm::report_guest_loop();
    }
    let started = Instant::now();
    let status =
        kvm::probe(Command::new(std::env::current_exe()?).arg("guest-loop"), Duration::from_millis(800));
    println!("{} (after {} ms)", status.sentence(), started.elapsed().as_millis());
    if let Some(hint) = status.hint() {
        println!("hint: {hint}");
    }
    Ok(())
}
