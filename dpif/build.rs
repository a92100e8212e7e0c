//! Builds the eBPF programs of `datapath-bpf` and leaves the object where `ebpf::object` embeds
//! it. With `AYA_BUILD_SKIP=1` an empty object is embedded, and opening the datapath says so.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::exit;

#[path = "build/toolchain.rs"]
mod toolchain;

fn main() {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let root = manifest.parent().unwrap_or(Path::new("..")).to_path_buf();
    let object = out_dir.join("datapath.o");

    for path in [
        "datapath-bpf/src",
        "datapath-bpf/Cargo.toml",
        "datapath-bpf/Cargo.lock",
    ] {
        println!("cargo:rerun-if-changed={}", root.join(path).display());
    }
    for path in [
        "packet/src",
        "packet/Cargo.toml",
        "dpif/build.rs",
        "dpif/build",
    ] {
        println!("cargo:rerun-if-changed={}", root.join(path).display());
    }
    println!("cargo:rerun-if-env-changed=AYA_BUILD_SKIP");

    if env::var_os("AYA_BUILD_SKIP").is_some_and(|v| v == "1" || v == "true") {
        write(&object, &[]);
        return;
    }
    let tools = toolchain::find().unwrap_or_else(|missing| fail(&missing.to_string()));
    // One directory for all profiles and feature sets of the host build: OUT_DIR is
    // <target>/<profile>/build/dpif-<hash>/out.
    let target = out_dir.ancestors().nth(4).unwrap_or(&out_dir).join("ebpf");
    let source = root.join("datapath-bpf");
    let output = toolchain::build_command(&tools, &source, &target)
        .output()
        .unwrap_or_else(|e| fail(&format!("{}: {e}", tools.cargo.display())));
    if !output.status.success() {
        fail(&format!(
            "building the eBPF programs:\n{}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    let built = target.join("bpfel-unknown-none/release/datapath");
    let bytes = fs::read(&built).unwrap_or_else(|e| fail(&format!("{}: {e}", built.display())));
    write(&object, &bytes);
}

fn write(path: &Path, bytes: &[u8]) {
    // Unchanged content keeps its time stamp, so that what depends on it is not built again.
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return;
    }
    fs::write(path, bytes).unwrap_or_else(|e| fail(&format!("{}: {e}", path.display())));
}

fn fail(message: &str) -> ! {
    eprintln!("{message}");
    exit(1);
}
