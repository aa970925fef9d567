//! An image's `/etc/passwd` and `/etc/group`, and `--user`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: (&str, &str, &str)| {
    let (passwd, group, user) = input;
    let _ = cofferdam_model::user::resolve(passwd, group, user, &[user.to_owned()]);
});
