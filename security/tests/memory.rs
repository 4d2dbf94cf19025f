//! Every attack on the store in memory.

kvolt_security::attacks!(kvolt_security::Stage::memory());
