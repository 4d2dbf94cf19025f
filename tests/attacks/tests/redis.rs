//! Every attack on Redis.

kvolt_attacks::attacks!(kvolt_attacks::Stage::redis());
