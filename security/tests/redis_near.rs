//! Every attack on Redis with a near cache in each server.

kvolt_security::attacks!(kvolt_security::Stage::redis_near());
