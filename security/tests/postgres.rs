//! Every attack on PostgreSQL.

kvolt_security::attacks!(kvolt_security::Stage::postgres());
