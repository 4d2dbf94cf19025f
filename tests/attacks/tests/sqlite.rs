//! Every attack on SQLite.

kvolt_attacks::attacks!(kvolt_attacks::Deployment::sqlite());
