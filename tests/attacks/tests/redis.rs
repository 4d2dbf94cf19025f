//! All attacks on Redis.

kvolt_attacks::attacks!(kvolt_attacks::Stage::redis());
