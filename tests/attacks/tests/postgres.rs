//! All attacks on PostgreSQL.

kvolt_attacks::attacks!(kvolt_attacks::Stage::postgres());
