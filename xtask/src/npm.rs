//! Packages of npm that tests need, in the versions and with the checksums of a lock file.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::Failure;
use crate::cargo::{self, find_program, root};

/// A folder of the tree with a `package.json` and its lock file, installed below `target/`.
pub(crate) struct Packages {
    /// Where the lock file is.
    pub(crate) lock: &'static str,
    /// The folder below `target/`.
    pub(crate) folder: &'static str,
    /// A file that exists once they are installed.
    pub(crate) proof: &'static str,
}

/// For the browser test of the application.
pub(crate) const AXE: Packages =
    Packages { lock: "app/tests/axe", folder: "axe", proof: "node_modules/axe-core/axe.min.js" };

/// For the tests of `examples/openid-connect`.
pub(crate) const OIDC_PROVIDER: Packages = Packages {
    lock: "examples/openid-connect/provider",
    folder: "oidc-provider",
    proof: "node_modules/oidc-provider/lib/index.js",
};

impl Packages {
    /// Whether they are installed, in the versions of the lock file.
    pub(crate) fn are_installed(&self) -> bool {
        let lock = |folder: PathBuf| fs::read(folder.join("package-lock.json")).ok();
        self.target().join(self.proof).exists()
            && lock(self.target()) == lock(root().join(self.lock))
    }

    /// Fetches them. Their scripts do not run.
    pub(crate) fn fetch(&self) -> Result<(), Failure> {
        let folder = self.target();
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        fs::create_dir_all(&folder).map_err(failed)?;
        for file in ["package.json", "package-lock.json"] {
            fs::copy(root().join(self.lock).join(file), folder.join(file)).map_err(failed)?;
        }
        let npm = find_program("npm").ok_or("there is no npm")?;
        let mut npm = Command::new(npm);
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder);
        cargo::run(&mut npm)
    }

    fn target(&self) -> PathBuf {
        root().join("target").join(self.folder)
    }
}
