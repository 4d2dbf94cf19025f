//! All attacks on PostgreSQL with a near cache in each server.

kvolt_attacks::attacks!(kvolt_attacks::Stage::postgres_near());
