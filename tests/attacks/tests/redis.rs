//! Every attack on Redis.

kvolt_attacks::attacks!(kvolt_attacks::Deployment::redis());
