use std::fs;
use std::path::Path;

use kvolt_servers::webdriver::Browser;
use serde_json::json;

/// Pictures and checks of each page.
pub trait PageChecks {
    /// Saves a screenshot below the target folder.
    fn save_screenshot(&mut self, name: &str);

    /// Checks the page with axe-core, and that it fits the width of the window.
    fn check_accessibility(&mut self, page: &str);
}

impl PageChecks for Browser {
    fn save_screenshot(&mut self, name: &str) {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{name}.png")), self.screenshot()).unwrap();
    }

    fn check_accessibility(&mut self, page: &str) {
        let path =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../target/axe/node_modules/axe-core/axe.min.js");
        let axe = fs::read_to_string(path).expect(
            "axe-core: `cargo xtask test --only \"browser programs\" --install` fetches it",
        );
        let found = self.run(&format!(
            "{axe}; return axe.run().then(found => found.violations.map(rule => \
             rule.impact + ' ' + rule.id + ': ' + rule.nodes.map(node => node.html).join(' ')))"
        ));
        assert_eq!(found, json!([]), "axe-core on {page}");
        let overflow =
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(self.run(overflow), 0, "{page} is wider than the window");
    }
}
