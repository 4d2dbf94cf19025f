//! All attacks on the memory store.

kvolt_attacks::attacks!(kvolt_attacks::Stage::memory());
