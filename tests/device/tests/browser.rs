//! The behaviour that Chromium shows.

mod fixture;

use std::time::Duration;

use fixture::found::assert_found;
use fixture::{Fault, Fixture};
use kvolt_device_tests::browser;

kvolt_device_tests::browser_suite!(Fixture::start());

/// Nothing is deleted by the test, and no clock is moved: cookies expire.
mod real_time {
    use super::*;

    fn start() -> Fixture {
        Fixture::in_real_time(Duration::from_secs(5))
    }

    #[test]
    fn copy_is_worthless_while_the_owner_is_idle() {
        browser::copy_is_worthless_while_the_owner_is_idle(&start());
    }

    #[test]
    fn second_sign_in_replaces_the_device_session() {
        browser::second_sign_in_replaces_the_device_session(&start());
    }
}

/// A lost answer is no fault of the server: the browser goes on.
#[test]
fn lost_answer_of_a_refresh_ends_nothing() {
    browser::parallel_requests_are_all_admitted(&Fixture::broken(Fault::LostAnswer));
}

/// Faults that a browser shows by its own decisions.
mod broken {
    use super::*;

    #[test]
    fn offer_to_other_sites_is_found() {
        let check = browser::sign_in_from_another_site_binds_the_browser;
        assert_found(check, Fault::OfferToOtherSites, "the registration");
    }

    #[test]
    fn other_attributes_are_found() {
        let check = browser::sign_in_binds_the_browser;
        assert_found(check, Fault::OtherAttributes, "does not recognise its cookie");
    }

    #[test]
    fn missing_reload_is_found() {
        let check = browser::link_from_another_site_arrives_signed_in;
        assert_found(check, Fault::NoReload, "no \"hello\" on the page");
    }

    #[test]
    fn refresh_for_any_site_is_found() {
        let check = browser::link_from_another_site_arrives_signed_in;
        assert_found(check, Fault::AnyInitiator, "no \"hello\" on the page");
    }
}
