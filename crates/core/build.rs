//! Builds the shim as a static program and hands it to this crate as bytes.
//!
//! A dynamically linked shim takes half as long again to start and half as much memory again, for
//! each task; cargo cannot link one binary of a package statically and the other not, and installs
//! only a package's own binaries. So the shim is built apart and carried inside: one file to
//! install, and never a shim of another version.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let shim =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../shim");
    println!("cargo:rerun-if-changed={}", shim.join("src").display());
    println!("cargo:rerun-if-changed={}", shim.join("Cargo.toml").display());
    println!("cargo:rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let target = env::var("TARGET").expect("cargo sets it");
    let wanted = out.join("meanwhile-shim");
    // A system without the static C library (Debian has it in libc6-dev) gets a dynamic shim.
    let built = build(&shim, &out, &target, true).or_else(|| build(&shim, &out, &target, false));
    let built = built.expect("cannot build crates/shim: see cargo's messages above");
    let bytes = std::fs::read(built).expect("cargo has just made it");
    // Taken here, because a daemon that took it would have the whole shim in its memory.
    println!("cargo:rustc-env=MEANWHILE_SHIM_CRC={:08x}", crc32fast::hash(&bytes));
    // A copied target folder may share this file with its original by a hard link.
    let _ = std::fs::remove_file(&wanted);
    std::fs::write(wanted, bytes).expect("OUT_DIR is writable");
}

fn build(shim: &Path, out: &Path, target: &str, linked_statically: bool) -> Option<PathBuf> {
    let folder = out.join(if linked_statically { "static" } else { "dynamic" });
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command
        .args(["build", "--release", "--quiet", "--bin", "meanwhile-shim", "--target", target])
        .arg("--manifest-path")
        .arg(shim.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&folder);
    // What the outer cargo set for this crate is not meant for the shim.
    for (name, _) in env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("CARGO_FEATURE")
            || name_text.starts_with("CARGO_CFG")
            || name_text.starts_with("CARGO_PROFILE")
            || name_text.contains("RUSTFLAGS")
            || name_text.starts_with("CARGO_TARGET_DIR")
            || name_text.starts_with("RUSTC_W")
        {
            command.env_remove(&name);
        }
    }
    let flags = if linked_statically {
        "-Ctarget-feature=+crt-static -Crelocation-model=static"
    } else {
        ""
    };
    command
        .env("RUSTFLAGS", flags)
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "s")
        .env("CARGO_PROFILE_RELEASE_LTO", "fat")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false");
    let status = command.status().ok()?;
    status.success().then(|| folder.join(target).join("release/meanwhile-shim"))
}
