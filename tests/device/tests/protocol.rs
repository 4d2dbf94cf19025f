//! The behaviour that a client of the protocol sees.

use kvolt_device_tests::Fixture;

kvolt_device_tests::protocol_suite!(Fixture::start());
