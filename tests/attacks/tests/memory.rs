//! Every attack on the store in memory.

kvolt_attacks::attacks!(kvolt_attacks::Deployment::memory());
