//! Every attack on PostgreSQL with a near cache in each server.

kvolt_attacks::attacks!(kvolt_attacks::Deployment::postgres_near());
