//! Links of other sites.

use kvolt_servers::wait_until;

use super::owner::Owner;
use crate::Server;
use crate::server::GRACE;

/// The browser does not refresh for such a link, and yet its user arrives signed in, at the page of
/// the link.
pub fn link_from_another_site_arrives_signed_in(server: &dyn Server) {
    let mut owner = Owner::bound(server);
    server.let_pass(GRACE * 2);
    let id = owner.device_session();
    for end in ["?from=elsewhere", "?from=elsewhere#part"] {
        owner.lose_bound_cookie();
        let target = format!("{}{end}", server.protected());
        owner.follow_link_to(&target);
        owner.browser.wait_for(server.greeting());
        let place = owner.browser.run("return location.pathname + location.search + location.hash");
        assert_eq!(place, target);
    }
    assert_eq!(owner.device_session(), id, "the device session lives");
    assert_eq!(owner.request().0, 200);
}

/// The registration does not come while the answer is one to another site: the next request of the
/// site's own page gets the offer.
pub fn sign_in_from_another_site_binds_the_browser(server: &dyn Server) {
    let Some(callback) = server.callback() else { return };
    let mut owner = Owner::new(server);
    owner.follow_link_to(callback);
    wait_until("the session is accepted", || owner.status() == 200);
    owner.wait_for_registration(0);
    owner.device_session();
    owner.assert_renews_lost_cookie();
}
