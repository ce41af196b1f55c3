//! `cargo xtask image`: the container image, without a container engine.
//!
//! One static program and three small files make one layer. The image is written in two forms: an
//! OCI layout, which holds all architectures, and for each architecture an archive for `docker
//! load`. The same program gives the same bytes: times, owners and order are fixed.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

mod archive;
mod config;
mod elf;
mod layer;
mod layout;

pub use config::PLAIN_USER;

/// A name that the image has where it is loaded.
const NAME: &str = "naming-server";

/// What `cargo xtask image` is told.
#[derive(Args, Debug, Clone)]
pub struct Arguments {
    /// Architectures to build for: amd64, arm64 [default: that of this machine]
    #[arg(long = "arch", value_name = "ARCH")]
    pub architectures: Vec<Architecture>,
    /// A static program that is built already, ARCH=FILE, instead of building one
    #[arg(long = "program", value_name = "ARCH=FILE", value_parser = parse_program)]
    pub programs: Vec<(Architecture, PathBuf)>,
    /// Folder to write to [default: target/image]
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

/// What a program runs on, by the name that images use.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Architecture {
    /// x86_64.
    Amd64,
    /// aarch64.
    Arm64,
}

impl Architecture {
    /// As it stands in images.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// The target of the compiler. Programs for musl need no file of the system.
    fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-musl",
            Self::Arm64 => "aarch64-unknown-linux-musl",
        }
    }

    /// How cargo names the target in variables.
    fn variable(self) -> String {
        self.target().to_uppercase().replace('-', "_")
    }

    /// That of this machine.
    fn own() -> Result<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Ok(Self::Amd64),
            "aarch64" => Ok(Self::Arm64),
            other => bail!("no image is made for {other}; name one with --arch"),
        }
    }
}

/// What was written.
#[derive(Debug)]
pub struct Image {
    /// The OCI layout.
    pub layout: PathBuf,
    /// The archives for `docker load`, by architecture.
    pub archives: Vec<(Architecture, PathBuf)>,
    /// The digest of the index, which names everything else.
    pub digest: String,
}

/// Builds and writes the image.
///
/// # Errors
/// A build that fails, a program that is not static or of another architecture, or files that
/// cannot be written.
pub fn run(arguments: &Arguments, repository: &Path) -> Result<ExitCode> {
    let programs = programs(arguments, repository)?;
    let output = arguments.output.clone().unwrap_or_else(|| repository.join("target/image"));
    let image = write(&programs, &output)?;
    println!("{} ({})", image.layout.display(), image.digest);
    for (architecture, archive) in &image.archives {
        let mib = std::fs::metadata(archive)?.len() as f64 / f64::from(1 << 20);
        println!("{} ({}, {mib:.1} MiB)", archive.display(), architecture.name());
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the image of these programs into a folder.
///
/// # Errors
/// As [`run`].
pub fn write(programs: &[(Architecture, PathBuf)], output: &Path) -> Result<Image> {
    ensure!(!programs.is_empty(), "no program to put into an image");
    let mut parts = Vec::new();
    for (architecture, path) in programs {
        let program = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
        elf::check(&program, *architecture)
            .with_context(|| format!("{} for {}", path.display(), architecture.name()))?;
        let layer = layer::make(&program)?;
        parts.push(layout::Part::new(*architecture, layer));
    }
    let layout = output.join("oci");
    let digest = layout::write(&parts, &layout)?;
    let mut archives = Vec::new();
    for part in &parts {
        let path = output.join(format!("{NAME}-{}.tar", part.architecture.name()));
        archive::write(part, &path)?;
        archives.push((part.architecture, path));
    }
    Ok(Image { layout, archives, digest })
}

fn programs(arguments: &Arguments, repository: &Path) -> Result<Vec<(Architecture, PathBuf)>> {
    let mut programs = arguments.programs.clone();
    let mut wanted = arguments.architectures.clone();
    if programs.is_empty() && wanted.is_empty() {
        wanted.push(Architecture::own()?);
    }
    for architecture in wanted {
        if !programs.iter().any(|(known, _)| *known == architecture) {
            programs.push((architecture, build(architecture, repository)?));
        }
    }
    programs.sort();
    Ok(programs)
}

/// Builds the program. The allocator is built from C, for which a machine has a compiler of its own
/// kind only: without it another architecture gets the allocator of the C library.
fn build(architecture: Architecture, repository: &Path) -> Result<PathBuf> {
    let target = architecture.target();
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--release", "--locked", "--package", "naming-server"]);
    command.args(["--target", target]).current_dir(repository);
    if Some(architecture) != Architecture::own().ok() {
        command.args(["--no-default-features", "--features", "mysql"]);
        // The linker that comes with the compiler knows every architecture.
        command.env(format!("CARGO_TARGET_{}_LINKER", architecture.variable()), "rust-lld");
    }
    let status = command.status().context("run cargo")?;
    ensure!(
        status.success(),
        "the program for {target} cannot be built; it takes `rustup target add {target}` and for \
         the architecture of this machine musl-gcc (package musl-tools)"
    );
    let folder = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| repository.join("target"));
    Ok(folder.join(target).join("release").join(NAME))
}

fn parse_program(text: &str) -> Result<(Architecture, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("write ARCH=FILE")?;
    Ok((clap::ValueEnum::from_str(name, true)?, path.into()))
}
