//! Every attack on Redis with a near cache in each server.

kvolt_attacks::attacks!(kvolt_attacks::Deployment::redis_near());
