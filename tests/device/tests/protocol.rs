//! The behaviour that a client of the protocol sees.

mod fixture;

use fixture::Fixture;

kvolt_device_tests::protocol_suite!(Fixture::start());
