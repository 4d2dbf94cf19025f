//! Behaviour of the server with a real Chromium, and with a thief that has copied its cookies.

mod binding;
mod links;
mod other_site;
mod owner;
mod theft;

pub use binding::*;
pub use links::*;
pub use theft::*;

crate::suite::checks! { $ browser browser_suite;
    sign_in_binds_the_browser
    lost_bound_cookie_is_renewed_first
    parallel_requests_are_all_admitted
    rotation_and_refresh_go_together
    step_up_is_proved_by_the_browser
    outdated_bound_cookie_is_renewed
    outage_ends_no_device_session
    sign_out_ends_the_device_session
    second_sign_in_replaces_the_device_session

    link_from_another_site_arrives_signed_in
    sign_in_from_another_site_binds_the_browser

    copy_is_worthless_while_the_owner_is_active
    copy_is_worthless_while_the_owner_is_idle
    thief_at_the_refresh_hinders_nothing
    thief_s_own_device_opens_nothing
}
