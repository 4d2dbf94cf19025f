//! Every attack on PostgreSQL.

kvolt_attacks::attacks!(kvolt_attacks::Deployment::postgres());
