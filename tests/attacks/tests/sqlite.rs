//! All attacks on SQLite.

kvolt_attacks::attacks!(kvolt_attacks::Stage::sqlite());
