/// Lists the checks of a group: as a constant, and as a macro that makes a test of each.
macro_rules! checks {
    ($dollar:tt $group:ident $suite:ident; $($name:ident)*) => {
        /// All checks of this module, with their names.
        pub const ALL: &[(&str, $crate::Check)] = &[$((stringify!($name), $name)),*];

        /// Makes a test of each check in the module, on the server that an expression starts.
        #[macro_export]
        macro_rules! $suite {
            ($dollar start:expr) => { $(
                #[test]
                fn $name() {
                    $crate::$group::$name(&$dollar start);
                }
            )* };
        }
    };
}
pub(crate) use checks;
