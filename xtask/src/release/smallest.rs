//! The first build of the README's first program, beside the same program on tower-sessions.

use std::fs;

use crate::Failure;
use crate::cargo::{self, cargo, root};
use crate::steps::now;

const TOKIO: &str = "axum = \"0.8\"\ntokio = { version = \"1\", features = [\"full\"] }\n";

pub(crate) fn measure() -> Result<(), Failure> {
    let kvolt = format!("kvolt = {{ path = {:?} }}\n", root().join("crates/kvolt"));
    let programs = [
        ("kvolt", include_str!("smallest/kvolt.rs"), kvolt.as_str()),
        (
            "tower-sessions",
            include_str!("smallest/tower_sessions.rs"),
            "serde = { version = \"1\", features = [\"derive\"] }\ntower-sessions = \"0.15\"\n",
        ),
    ];
    let mut lines = Vec::new();
    for (library, program, dependencies) in programs {
        let folder = super::folder().join("smallest").join(library);
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(super::at(&folder))?;
        }
        fs::create_dir_all(folder.join("src")).map_err(super::at(&folder))?;
        let manifest = format!(
            "[package]\nname = \"smallest\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
             [dependencies]\n{TOKIO}{dependencies}\n[workspace]\n"
        );
        fs::write(folder.join("Cargo.toml"), manifest).map_err(super::at(&folder))?;
        fs::write(folder.join("src/main.rs"), program).map_err(super::at(&folder))?;
        cargo::run(cargo(["fetch", "--quiet"]).current_dir(&folder))?;
        let mut tree = cargo(["tree", "--edges", "normal,build", "--prefix", "none"]);
        let tree = cargo::output(tree.args(["--format", "{p}"]).current_dir(&folder))?;
        let mut crates: Vec<&str> =
            tree.lines().map(|line| line.trim_end_matches(" (*)")).collect();
        crates.sort_unstable();
        crates.dedup();
        let target = folder.join("target");
        let mut build = cargo(["build", "--quiet", "--offline"]);
        build.current_dir(&folder).env("CARGO_TARGET_DIR", &target);
        let (start, cpu_before) = (now(), cpu_seconds());
        cargo::run(&mut build)?;
        let (seconds, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu_before);
        fs::remove_dir_all(&target).map_err(super::at(&target))?;
        // The program itself is none of them.
        lines.push(format!("  {library:<16} {:>6} {seconds:>8.1} {cpu:>8.1}", crates.len() - 1));
    }
    println!("\n  first build      crates  seconds  of CPU");
    println!("{}", lines.join("\n"));
    Ok(())
}

/// The processor's time that the programs took which this one started: the same on a busy machine.
/// Zero where the system has no `/proc`.
fn cpu_seconds() -> f64 {
    /// Linux shows all times in these.
    const TICKS_A_SECOND: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let (_, fields) = stat.rsplit_once(')').unwrap_or_default();
    // `cutime` and `cstime`, fields 16 and 17 of the line.
    let ticks =
        fields.split_whitespace().skip(13).take(2).filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / TICKS_A_SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smallest_program_is_the_first_of_the_readme() {
        let readme = fs::read_to_string(root().join("README.md")).expect("there is a README");
        assert!(readme.contains(include_str!("smallest/kvolt.rs")));
    }
}
