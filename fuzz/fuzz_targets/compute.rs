//! Arguments of other engines' processes, and the paths of their control groups.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let arguments: Vec<Vec<u8>> = data.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    for program in ["containerd-shim-runc-v2", "conmon", "cofferdam-shim", "qemu-system-x86_64"] {
        let _ = cofferdam_model::recognise(program, &arguments);
    }
    let _ = cofferdam_model::container_of_group(&String::from_utf8_lossy(data));
});
