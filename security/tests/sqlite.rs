//! Every attack on SQLite.

kvolt_security::attacks!(kvolt_security::Stage::sqlite());
