//! Every attack on PostgreSQL with a near cache in each server.

kvolt_security::attacks!(kvolt_security::Stage::postgres_near());
