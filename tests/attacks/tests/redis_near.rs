//! All attacks on Redis with a near cache in each server.

kvolt_attacks::attacks!(kvolt_attacks::Stage::redis_near());
